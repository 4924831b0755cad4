"""Run by test_judge.py in a process of its own, to be killed: asks the judge for each text.

python judge_child.py OUT_DIR URL TEXT...     (the key in JUDGE_KEY)
"""

import sys

from judge_tasks import tasks

from nuggets_ray.config.schema import JudgeConfig
from nuggets_ray.evaluate.judge.endpoint import EndpointJudge

if __name__ == "__main__":
    out_dir, url, *texts = sys.argv[1:]
    config = JudgeConfig(
        model="judge", url=url, api_key_env="JUDGE_KEY", max_tokens=8, concurrency=2
    )
    EndpointJudge(config, out_dir)(tasks(*texts))
