"""Every promise of the docs, and the tests that hold us to it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN, FRONT_PAGE, SECURITY = "nuggets_ray/run/README.md", "README.md", "docker/SECURITY.md"
SECTIONS = {
    RUN: ("What a run promises", "What a job answers"),
    FRONT_PAGE: ("Security", "Watch, stop, and go on"),
    SECURITY: ("What is promised",),
}
INTEGRATION, UNIT = "tests/integration", "tests/unit"
RESUME = f"{INTEGRATION}/test_resume.py"
PROMISES: dict[str, tuple[str, ...]] = {
    # what a run promises
    "Durable.": (
        f"{RESUME}::test_killed_drivers_and_workers_lose_nothing",
        f"{INTEGRATION}/test_chaos.py::test_nothing_is_lost_by_what_breaks",
    ),
    "Resumed.": (
        f"{RESUME}::test_killed_drivers_and_workers_lose_nothing",
        f"{RESUME}::test_a_row_that_kills_its_worker_is_given_up_tried_once_more_and_the_rest_is_scored",
        f"{INTEGRATION}/test_score.py::test_more_rows_and_other_anchors_rules",
        f"{INTEGRATION}/test_race.py::test_a_killed_race_goes_on_with_another_number_of_workers",
        f"{UNIT}/stages/cluster/test_deaths.py::test_only_deaths_on_a_live_node_count",
    ),
    "Ended in order.": (
        f"{RESUME}::test_an_interrupted_run_keeps_what_is_finished",
        f"{RESUME}::test_a_disk_that_fills_up_in_a_worker_is_one_sentence",
        f"{RESUME}::test_workers_that_die_while_they_load_the_model_end_the_run",
        f"{INTEGRATION}/test_interrupts.py::test_sigterm_is_an_interruption",
    ),
    "One run, one meaning.": (
        f"{UNIT}/run/test_manifest.py::test_another_fingerprint_is_refused_and_names_the_keys",
        f"{UNIT}/run/test_manifest.py::test_a_second_live_driver_is_refused",
        f"{UNIT}/run/test_lease.py::test_of_drivers_that_come_in_the_same_instant_one_gets_the_folder",
        f"{INTEGRATION}/test_score.py::test_another_dtype_or_prompt_is_refused_in_the_same_folder",
        f"{INTEGRATION}/test_anchor_sets.py::test_a_set_that_is_gone_or_an_anchor_that_changed_is_refused",
    ),
    "Selections stay true.": (
        f"{UNIT}/run/test_selections.py::test_a_partial_selection_is_not_trained_on_once_scoring_went_on",
        f"{INTEGRATION}/test_evaluate.py::test_a_partial_selection_is_refused_once_more_is_scored",
        f"{UNIT}/run/test_selections.py::test_who_was_trained_on_rows_is_told_by_their_hash",
    ),
    "What made a model is kept with the model.": (
        f"{INTEGRATION}/test_evaluate.py::test_a_model_keeps_how_it_was_trained",
        f"{UNIT}/run/test_selections.py::test_a_training_that_goes_on_keeps_what_it_began_with",
    ),
    "No made-up scores.": (
        f"{UNIT}/score/test_one_shot.py::test_a_log_prob_that_is_not_finite_is_a_reason_and_not_a_score",
        f"{INTEGRATION}/test_score.py::test_every_row_is_accounted_for",
    ),
    "Checkable.": (
        f"{INTEGRATION}/test_score.py::test_the_preview_can_be_recomputed_with_plain_transformers",
    ),
    # what a job answers
    "0": (f"{INTEGRATION}/test_score.py::test_a_finished_run_does_nothing_again",),
    "2": (f"{INTEGRATION}/test_errors.py::test_one_sentence_and_code_2",),
    "130": (f"{INTEGRATION}/test_interrupts.py::test_sigterm_is_an_interruption",),
    "1": (f"{UNIT}/test_cli.py::test_a_fault_of_ours_has_a_traceback_and_code_1",),
    # the front page
    "A Ray that a job starts listens on loopback only": (
        f"{INTEGRATION}/test_sockets.py::test_every_door_is_on_loopback",
        f"{INTEGRATION}/test_sockets.py::test_a_stranger_has_no_command_run",
    ),
    "Code that comes with a model does not run unless": (
        f"{UNIT}/model/test_identity.py::test_modelling_code_counts_where_it_runs",
        f"{UNIT}/model/test_load.py::test_code_of_a_model_folder_runs_only_where_it_is_asked_for",
    ),
    "Your rows go where you send them": (
        f"{INTEGRATION}/test_sockets.py::test_ray_reports_no_usage",
        f"{UNIT}/stages/cluster/test_address.py::test_a_ray_of_our_own_tells_nobody_of_its_usage",
        f"{UNIT}/model/test_vllm.py::test_the_parts_of_a_replica_talk_on_loopback_unless_ray_spreads_them",
    ),
    "The same command goes on from there": (
        f"{RESUME}::test_killed_drivers_and_workers_lose_nothing",
        f"{INTEGRATION}/test_finetune.py::test_kills_of_worker_and_driver_change_no_loss",
        f"{INTEGRATION}/test_evaluate.py::test_a_killed_run_goes_on_from_the_answers_that_are_there",
    ),
    # docker/SECURITY.md
    "Rows cannot run, crash or fill the memory.": (
        f"{UNIT}/test_hostile_input.py::test_a_line_that_never_ends_is_one_row_too_large",
        f"{UNIT}/report/test_page.py::test_values_are_escaped_and_without_what_is_obeyed",
        f"{UNIT}/report/test_page.py::test_the_policy_lets_in_our_style_and_script_alone",
    ),
    "No code from a model folder runs unasked.": (
        f"{UNIT}/model/test_load.py::test_code_of_a_model_folder_runs_only_where_it_is_asked_for",
        f"{UNIT}/model/test_identity.py::test_modelling_code_counts_where_it_runs",
    ),
    "No pickle of a run folder is run.": (
        f"{UNIT}/finetune/test_plain_load.py::test_a_command_in_a_checkpoint_is_refused",
    ),
    "A Ray that a job or `make ray-up` starts is closed": (
        f"{INTEGRATION}/test_sockets.py::test_a_stranger_has_no_command_run",
        f"{INTEGRATION}/test_ray_jobs.py::test_up_submit_down",
    ),
    "Keys stay where they are.": (
        f"{INTEGRATION}/test_ray_jobs.py::test_up_submit_down",
        f"{INTEGRATION}/test_evaluate_errors.py::test_a_judge_out_of_reach_costs_no_answer",
        f"{UNIT}/evaluate/judge/test_client.py::test_a_key_that_an_endpoint_repeats_is_kept_nowhere",
        f"{UNIT}/evaluate/judge/test_endpoint.py::test_the_key_is_written_nowhere",
    ),
    "Nothing is sent anywhere": (
        f"{INTEGRATION}/test_sockets.py::test_ray_reports_no_usage",
        f"{UNIT}/test_image.py::test_ray_asks_for_a_token_and_nothing_is_told_to_anyone",
    ),
    "The images": (
        f"{UNIT}/test_image.py::test_the_base_is_pinned_to_its_bytes",
        f"{UNIT}/test_image.py::test_packages_come_before_code_and_with_hashes",
        f"{UNIT}/test_image.py::test_no_tool_of_developers_and_no_root",
        f"{UNIT}/test_image.py::test_the_image_holds_no_data_model_secret_or_environment",
        f"{UNIT}/test_manifests.py::test_a_pod_has_no_privilege",
    ),
}


def is_of(promise: str, known: str) -> bool:
    return promise == known if known.isdigit() else promise.startswith(known)


def promises(page: str) -> list[str]:
    """The beginnings of what a page promises: what is bold, or a row's first cell."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for title in SECTIONS[page]:
        section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert section, title
        for line in section.splitlines():
            if line.startswith("* "):
                bold = re.match(r"\* \*\*(.+?)\*\*", line)
                found.append(bold[1] if bold else line[2:])
            elif re.match(r"\| \d+ \|", line):
                found.append(line.split("|")[1].strip())
            elif line.startswith("Ctrl-C or SIGTERM"):
                found.append(line.partition(". ")[2])
    return found


@pytest.mark.parametrize("page", SECTIONS)
def test_each_promise_has_its_tests(page: str) -> None:
    found = promises(page)
    assert len(found) > 2 or page == FRONT_PAGE
    for promise in found:
        assert any(is_of(promise, known) for known in PROMISES), f"{page}: {promise}"


def test_no_promise_is_gone() -> None:
    found = [promise for page in SECTIONS for promise in promises(page)]
    for known in PROMISES:
        assert any(is_of(promise, known) for promise in found), known


@pytest.mark.parametrize("test", sorted({test for tests in PROMISES.values() for test in tests}))
def test_the_test_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
