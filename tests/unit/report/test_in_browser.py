"""The report in a real browser: it works, in light and dark, narrow and printed, and no text of a
row runs.
"""

from pathlib import Path

import pytest
from browser import chromium, dump_dom, print_pdf, screenshot
from reported_run import HOSTILE, Tags, hostile_run, whole_run

from nuggets_ray.config.report import ReportConfig
from nuggets_ray.report.report import write_report

pytestmark = pytest.mark.long

ACT = """<script>
const put = (id, event, value) => {
  const field = document.querySelector(id);
  field.value = value;
  field.dispatchEvent(new Event(event));
};
const shown = () => document.getElementById("rows-shown").textContent;
const first = () => document.querySelector("table.rows tbody tr").textContent.trim()
  .split(/\\s+/)[0];
const told = [shown()];
put("#rows-search", "input", "double 1");
told.push(shown());
put("#rows-search", "input", "");
put("select[data-filter=kept]", "change", "golden");
told.push(shown());
put("select[data-filter=kept]", "change", "");
const buttons = document.querySelectorAll("table.rows th button");
buttons[0].click();
told.push("rank " + first());
buttons[1].click(); buttons[1].click();
told.push("score " + document.querySelectorAll("th[aria-sort=ascending]").length + " " + first());
document.title = told.join("; ");
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chromium()
    out_dir = whole_run(str(tmp_path_factory.mktemp("browser") / "run"))
    return Path(write_report(out_dir, ReportConfig())["wrote"][0])


def test_rows_are_searched_filtered_and_sorted(page: Path, tmp_path: Path) -> None:
    html = page.read_text(encoding="utf-8")
    start = html.index("<meta http-equiv")
    without_policy = html[:start] + html[html.index(">", start) + 1 :]
    acted = tmp_path / "acted.html"
    acted.write_text(without_policy.replace("</body>", f"{ACT}</body>"), encoding="utf-8")
    document = dump_dom(acted)
    title = document.partition("<title>")[2].partition("</title>")[0]
    assert title == (
        "13 of 13 rows shown; 3 of 13 rows shown; 4 of 13 rows shown; rank 13; score 1 13"
    )


def test_the_page_is_pictured_in_light_and_dark_narrow_and_printed(
    page: Path, tmp_path: Path
) -> None:
    light = screenshot(page, tmp_path / "light.png", 1100)
    dark = screenshot(page, tmp_path / "dark.png", 1100, dark=True)
    narrow = screenshot(page, tmp_path / "narrow.png", 500)
    assert min(map(len, (light, dark, narrow))) > 20_000 and light != dark
    assert print_pdf(page, tmp_path / "page.pdf").startswith(b"%PDF")


def test_no_text_of_a_row_runs(tmp_path: Path) -> None:
    chromium()
    out_dir = hostile_run(str(tmp_path / "run"))
    page = Path(write_report(out_dir, ReportConfig())["wrote"][0])
    document = Tags(dump_dom(page))
    assert document.of("title") and "pwned" not in str(document.of("html"))
    title = document.text.partition("run")[0]
    assert "pwned" not in title
    assert document.of("html")[0]["class"] == "js", "our own script ran"
    assert HOSTILE[0] in document.text


def test_the_policy_holds_where_escaping_did_not(page: Path, tmp_path: Path) -> None:
    html = page.read_text(encoding="utf-8")
    attack = (
        "<script>document.title = 'pwned'</script>"
        "<img src=x onerror=\"document.title = 'pwned'\">"
        "<p style='color: red' onclick='1'>x</p>"
        "<iframe srcdoc=\"<script>parent.document.title = 'pwned'</script>\"></iframe>"
    )
    attacked = tmp_path / "attacked.html"
    attacked.write_text(html.replace("</main>", f"{attack}</main>"), encoding="utf-8")
    document = dump_dom(attacked)
    assert document.partition("<title>")[2].startswith("run</title>")
    assert '<html lang="en" class="js">' in document
