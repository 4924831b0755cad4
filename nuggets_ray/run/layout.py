"""Where everything lies in a run folder: each path under out_dir is written here and nowhere else.

README.md beside this module says what each file holds. Paths are local, or URIs of an object store.
"""

from dataclasses import dataclass

from nuggets_ray.io import join


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The run folder at `out_dir`."""

    out_dir: str

    @property
    def manifest(self) -> str:
        """Fingerprint, inputs, versions and attempts."""
        return join(self.out_dir, "manifest.json")

    @property
    def lease(self) -> str:
        """Which process holds the folder, while it does."""
        return join(self.out_dir, "lease.json")

    @property
    def room(self) -> str:
        """A file that keeps room for the manifest on a disk that fills up."""
        return join(self.out_dir, ".room")

    def token(self, name: str) -> str:
        """What the driver writes for every node to read, to see that the folder is shared."""
        return join(self.out_dir, f"token-{name}")

    def config(self, job: str) -> str:
        """A job's resolved configuration: score, plan, select_topk, finetune-NAME, evaluate."""
        return join(self.out_dir, "config", f"{job}.yaml")

    def status(self, stage: str) -> str:
        """What a stage is doing, as its driver tells it."""
        return join(self.out_dir, "status", f"{stage}.json")

    @property
    def track(self) -> str:
        """The folder of a tracker of experiments: its own files."""
        return join(self.out_dir, "track")

    def tracked(self, stage: str) -> str:
        """As which run the tracker knows a stage."""
        return join(self.track, f"{stage}.json")

    def metrics(self, attempt_id: str) -> str:
        """Progress of an attempt, a line an interval or a training step."""
        return join(self.out_dir, "metrics", f"{attempt_id}.jsonl")

    @property
    def plan(self) -> str:
        """What the plan predicted."""
        return join(self.out_dir, "plan.json")

    @property
    def candidates(self) -> str:
        """The folder of the rows."""
        return join(self.out_dir, "candidates")

    @property
    def prepared(self) -> str:
        """What the candidates were made from; it names the parts that count."""
        return join(self.candidates, "_prepared.json")

    @property
    def all_staging(self) -> str:
        """The folder of what is not committed yet."""
        return join(self.candidates, "_staging")

    def staging(self, attempt_id: str) -> str:
        """Where an attempt writes candidates before it commits them."""
        return join(self.all_staging, attempt_id)

    def staged_skipped(self, attempt_id: str) -> str:
        """The rows that an attempt's reading skipped, before it commits."""
        return join(self.staging(attempt_id), "skipped.parquet")

    @property
    def held_out(self) -> str:
        """The rows that data.holdout keeps away from everything."""
        return join(self.out_dir, "holdout.parquet")

    @property
    def skipped(self) -> str:
        """The rows without a score, with their reasons."""
        return join(self.out_dir, "skipped.parquet")

    @property
    def anchors(self) -> str:
        """The anchors and their zero-shot log-probs."""
        return join(self.out_dir, "anchors.parquet")

    @property
    def scores(self) -> str:
        """The folder of the scores."""
        return join(self.out_dir, "scores")

    @property
    def rounds(self) -> str:
        """The folder of all rounds of a race."""
        return join(self.out_dir, "rounds")

    def round(self, number: int) -> "RoundFolder":
        """What a round of a race was to compute, and its answers."""
        return RoundFolder(join(self.rounds, str(number).zfill(4)))

    @property
    def added(self) -> "AddedFolder":
        """What anchors that are being added to a scored run have computed so far."""
        return AddedFolder(join(self.out_dir, "added"))

    @property
    def signals(self) -> str:
        """The folder of what rows told beside their scores."""
        return join(self.out_dir, "signals")

    def signal_part(self, name: str) -> str:
        """Signals of a block of rows."""
        return join(self.signals, f"part-{name}.parquet")

    @property
    def posterior(self) -> str:
        """The posterior score of every row."""
        return join(self.signals, "posterior.parquet")

    @property
    def set_scores(self) -> str:
        """The golden score of every row by anchor set."""
        return join(self.signals, "anchor_sets.parquet")

    @property
    def preview(self) -> str:
        """A few candidates and anchors with all that recomputing their log-probs needs."""
        return join(self.out_dir, "preview.jsonl")

    @property
    def separation(self) -> str:
        """The demo only: how well each measure tells whole rows from damaged ones."""
        return join(self.out_dir, "separation.json")

    @property
    def embeddings(self) -> str:
        """The model's hidden states of rows, as a diverse selection compared them."""
        return join(self.out_dir, "embeddings.parquet")

    @property
    def selections(self) -> str:
        """The folder of all selections."""
        return join(self.out_dir, "selections")

    def selection(self, name: str) -> "SelectionFolder":
        """The folder of one selection."""
        return SelectionFolder(join(self.selections, name))

    def exports(self, name: str) -> str:
        """The folder of a selection in the shapes of other trainers."""
        return join(self.out_dir, "exports", name)

    def export(self, name: str, trainer: str) -> "ExportFolder":
        """A selection in the shape of one trainer."""
        return ExportFolder(join(self.exports(name), trainer))

    @property
    def trainings(self) -> str:
        """The folder of all trainings."""
        return join(self.out_dir, "finetune")

    def training(self, name: str) -> "TrainingFolder":
        """What a training keeps while it goes on."""
        return TrainingFolder(join(self.trainings, name))

    @property
    def models(self) -> str:
        """The folder of all trained models."""
        return join(self.out_dir, "models")

    def model(self, name: str) -> "ModelFolder":
        """A trained model."""
        return ModelFolder(join(self.models, name))

    @property
    def evaluation(self) -> "EvaluationFolder":
        """What the evaluations wrote."""
        return EvaluationFolder(join(self.out_dir, "evaluation"))

    @property
    def report(self) -> "ReportFolder":
        """The run as a page."""
        return ReportFolder(join(self.out_dir, "report"))

    @property
    def studies(self) -> str:
        """The folder of all studies."""
        return join(self.out_dir, "studies")

    def study(self, name: str) -> "StudyFolder":
        """What a study found."""
        return StudyFolder(join(self.studies, name))


@dataclass(frozen=True, slots=True)
class RoundFolder:
    """rounds/NUMBER/. `plan` is written last: where it stands, the round is decided for good."""

    path: str

    @property
    def plan(self) -> str:
        """The anchors that are asked, and why."""
        return join(self.path, "plan.json")

    @property
    def rows(self) -> str:
        """The rows that are asked."""
        return join(self.path, "plan.parquet")

    def part(self, name: str) -> str:
        """A block of answers."""
        return join(self.path, f"part-{name}.parquet")


@dataclass(frozen=True, slots=True)
class AddedFolder:
    """added/, until its columns are in scores/. `swap` is written last: where it stands, the parts
    in `scores` take the place of those that it names.
    """

    path: str

    @property
    def anchors(self) -> str:
        """anchors.parquet as it will be."""
        return join(self.path, "anchors.parquet")

    @property
    def scores(self) -> str:
        """The folder of the rows with their new columns."""
        return join(self.path, "scores")

    @property
    def swap(self) -> str:
        """Which parts of scores/ come, and which go."""
        return join(self.path, "swap.json")

    def part(self, name: str) -> str:
        """A block of answers."""
        return join(self.path, f"part-{name}.parquet")


@dataclass(frozen=True, slots=True)
class SelectionFolder:
    """selections/NAME/. `record` is written last: where it stands, the selection is whole."""

    path: str

    @property
    def jsonl(self) -> str:
        return join(self.path, "selected.jsonl")

    @property
    def parquet(self) -> str:
        return join(self.path, "selected.parquet")

    @property
    def near_duplicates(self) -> str:
        """The rows that were left out for a better one that they are nearly the same as."""
        return join(self.path, "near_duplicates.jsonl")

    @property
    def profile(self) -> str:
        """What the rows look like beside all scored ones, in numbers."""
        return join(self.path, "profile.json")

    @property
    def record(self) -> str:
        """How the rows were chosen."""
        return join(self.path, "selection.json")

    @property
    def card(self) -> str:
        """The dataset card: README.md with the front matter that makes the folder a data set."""
        return join(self.path, "README.md")


@dataclass(frozen=True, slots=True)
class ExportFolder:
    """exports/NAME/TRAINER/."""

    path: str

    @property
    def data(self) -> str:
        return join(self.path, "data.jsonl")

    @property
    def dataset_info(self) -> str:
        """llamafactory: the entry that describes the data."""
        return join(self.path, "dataset_info.json")

    @property
    def datasets(self) -> str:
        """axolotl: the entry of its configuration."""
        return join(self.path, "datasets.yaml")


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """finetune/NAME/."""

    path: str

    @property
    def selection(self) -> str:
        """The record of the selection that the training was begun on."""
        return join(self.path, "selection.json")

    @property
    def committed(self) -> str:
        """Which checkpoints count."""
        return join(self.path, "checkpoints.json")

    @property
    def checkpoints(self) -> str:
        """The folder of all checkpoints, one folder an attempt."""
        return join(self.path, "checkpoints")

    def checkpoint(self, attempt_id: str, name: str) -> str:
        """The folder of one checkpoint."""
        return join(self.checkpoints, attempt_id, name)

    @property
    def tensorboard(self) -> str:
        return join(self.path, "tensorboard")

    @property
    def loss_curve(self) -> str:
        return join(self.path, "loss.png")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """models/NAME/, in Hugging Face format. `record` is written last: where it stands, the model is
    whole.
    """

    path: str

    @property
    def record(self) -> str:
        """What the model was trained on and how."""
        return join(self.path, "finetune.json")


@dataclass(frozen=True, slots=True)
class ReportFolder:
    """report/."""

    path: str

    @property
    def page(self) -> str:
        """All of it, in one file that needs no other."""
        return join(self.path, "index.html")

    def picture(self, name: str) -> str:
        """One of its pictures alone."""
        return join(self.path, f"{name}.png")


@dataclass(frozen=True, slots=True)
class EvaluationFolder:
    """evaluation/."""

    path: str

    @property
    def results(self) -> str:
        return join(self.path, "results.json")

    @property
    def results_page(self) -> str:
        return join(self.path, "results.md")

    def held_out(self, name: str | None = None) -> str:
        """Which held-out rows were used, and which have a twin in the training rows; `name` is
        evaluate.name.
        """
        return join(self.path, f"held_out-{name}.json" if name else "held_out.json")

    def answers_page(self, name: str | None = None) -> str:
        """Answers of all models side by side."""
        return join(self.path, f"answers-{name}.md" if name else "answers.md")

    def answers_data(self, name: str | None = None) -> str:
        """The same answers, for programs."""
        return join(self.path, f"answers-{name}.json" if name else "answers.json")

    def answers(self, model: str) -> str:
        """The folder of a model's answers, kept by prompt."""
        return join(self.path, "answers", model)

    def likelihood(self, model: str) -> str:
        """A model's log-probs of the held-out answers."""
        return join(self.path, "likelihood", f"{model}.json")

    @property
    def judge(self) -> str:
        """The folder of the verdicts of judges."""
        return join(self.path, "judge")

    def judge_page(self, benchmark: str, name: str, judge: str, model: str) -> str:
        """A judge's verdicts on a model's answers, for people to read."""
        return join(self.judge, benchmark, name, judge, f"{model}.md")

    @property
    def all_merged(self) -> str:
        """The folder of all adapters as whole models."""
        return join(self.path, "merged")

    def merged(self, model: str, key: str) -> str:
        """The folder of an adapter as a whole model."""
        return join(self.all_merged, f"{model}-{key}")

    @property
    def all_alpaca_eval(self) -> str:
        """The folder of all AlpacaEval's answers and verdicts."""
        return join(self.path, "alpaca_eval")

    def alpaca_eval(self, name: str, model: str) -> str:
        """A model's answers to the prompts `name`."""
        return join(self.all_alpaca_eval, name, model, "model_outputs.json")

    def annotations(self, name: str, model: str, judge: str) -> str:
        """A judge's verdicts on them."""
        return join(self.all_alpaca_eval, name, model, judge, "annotations.json")

    def mt_bench(self, name: str, model: str) -> str:
        """A model's answers to the questions `name`."""
        return join(self.path, "mt_bench", name, "model_answer", f"{model}.jsonl")

    def judgments(self, name: str, judge: str) -> str:
        """A judge's grades of all models' answers to them."""
        return join(self.path, "mt_bench", name, "model_judgment", f"{judge}_single.jsonl")

    def lm_eval(self, model: str, task: str) -> str:
        """The folder of the harness's own files of a task, or group, under a model."""
        return join(self.path, "lm_eval", model, task)

    def lm_eval_responses(self, model: str) -> str:
        """The folder of what a model responded to the harness, kept by request."""
        return join(self.path, "lm_eval", model, "responses")


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """studies/NAME/."""

    path: str

    @property
    def page(self) -> str:
        """What was run, what came out and what it means, for people."""
        return join(self.path, "study.md")

    @property
    def numbers(self) -> str:
        """The same for programs."""
        return join(self.path, "numbers.json")

    @property
    def table(self) -> str:
        """The numbers alone, as a table."""
        return join(self.path, "numbers.parquet")

    def picture(self, name: str) -> str:
        """A picture of the page."""
        return join(self.path, f"{name}.png")

    def arm(self, label: str) -> str:
        """What one training of the study gave."""
        return join(self.path, "arms", f"{label}.json")
