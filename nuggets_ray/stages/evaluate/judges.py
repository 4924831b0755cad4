"""Who judges: an endpoint, asked from the driver, or a local model, answering by vLLM on Ray."""

from collections.abc import Sequence
from dataclasses import replace

from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig
from nuggets_ray.evaluate.generate.answer import Asked, generation_settings
from nuggets_ray.evaluate.judge.cache import KeptVerdicts, verdict_key
from nuggets_ray.evaluate.judge.endpoint import EndpointJudge
from nuggets_ray.evaluate.judge.judge import Ask, JudgeTask
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.model.identity import weights_fingerprint
from nuggets_ray.model.load import resolve_model
from nuggets_ray.run.manifest import Run
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.evaluate.answers import open_answers
from nuggets_ray.stages.evaluate.progress import JudgeProgress


def make_judge(config: Config, workers: Workers, run: Run, dtype: str) -> Ask:
    """The judge of judge.*; what it says is kept, and never asked or paid for twice."""
    if config.judge.url is not None:
        return _endpoint(config, run)
    return _local(config, workers, run, dtype)


def _endpoint(config: Config, run: Run) -> Ask:
    """The endpoint's judge, whose verdicts and budget the run tells."""
    judge = EndpointJudge(config.judge, config.out_dir)
    told = JudgeProgress(run, config.judge, judge.kept, config.progress_s)
    judge.follow = told.follow

    def ask(tasks: Sequence[JudgeTask]) -> list[str]:
        try:
            return judge(tasks)
        finally:
            told.close()

    return ask


def _local(config: Config, workers: Workers, run: Run, dtype: str) -> Ask:
    name = config.judge.model
    assert name is not None
    model = resolve_model(ModelConfig(name))
    judge = EvalModel("judge", model, PromptConfig())
    greedy = replace(
        config.generate, max_tokens=config.judge.max_tokens, temperature=0.0, top_p=1.0, stop=[]
    )
    asked = replace(config, generate=greedy)
    settings = generation_settings(greedy, dtype, config.seed)
    settings["weights"] = weights_fingerprint(model)

    def ask(tasks: Sequence[JudgeTask]) -> list[str]:
        with open_answers(asked, judge, dtype, workers, run) as answer_all:
            answers = answer_all([Asked(task.conversation) for task in tasks])
        # a prompt that leaves no room for a verdict has none, and counts as unparseable
        texts = ["" if isinstance(answer, str) else answer.text for answer in answers]
        keys = [verdict_key(name, task.conversation, settings) for task in tasks]
        about = {key: task.about for key, task in reversed(list(zip(keys, tasks, strict=True)))}
        KeptVerdicts(config.out_dir).keep_free(dict(zip(keys, texts, strict=True)), name, about)
        return texts

    return ask
