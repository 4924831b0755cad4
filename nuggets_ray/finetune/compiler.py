"""DeepSpeed compiles its kernels at first use: what that needs, and doing it beforehand.

    python -m nuggets_ray.finetune.compiler        builds what training on this machine's CPU loads

They are cached in TORCH_EXTENSIONS_DIR (default ~/.cache/torch_extensions). Must not import ray.
"""

import os
import shutil
import sys

from nuggets_ray.config import UserError

CPU_KERNELS = ("ShareMemCommBuilder",)
"""What `deepspeed.init_distributed` loads on a CPU."""


def add_environment_to_path() -> None:
    """Put the folder of this interpreter on PATH, where ninja is: Ray's workers do not have it."""
    folder = os.path.dirname(sys.executable)
    if folder not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([folder, os.environ.get("PATH", "")])


def check_compiler() -> None:
    """Raise UserError where a C++ compiler or ninja is missing on this machine."""
    add_environment_to_path()
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        raise UserError(
            f"the C++ compiler {compiler} is not there, with which DeepSpeed builds its kernels: "
            "install g++ (apt-get install g++), or name one with the variable CXX"
        )
    if shutil.which("ninja") is None:
        raise UserError(
            "ninja is not there, with which DeepSpeed builds its kernels: install it with "
            "`pip install ninja` into the environment of the workers"
        )


def build_kernels() -> None:
    """Build what the first training on a CPU would build: about a minute, once."""
    check_compiler()
    os.environ["DS_ACCELERATOR"] = "cpu"
    from deepspeed.accelerator import get_accelerator

    for name in CPU_KERNELS:
        get_accelerator().create_op_builder(name).load(verbose=False)


def main() -> None:
    """Build them; without a compiler say so, since everything but fine-tuning works without."""
    try:
        build_kernels()
    except UserError as error:
        print(f"warning: fine-tuning will not work yet: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
