"""Job scripts: what their ``#SWM`` and ``#SBATCH`` lines ask for."""

from .completion import Completed, input_names, understand
from .errors import ScriptError
from .reading import Directives, read

__all__ = [
    "Completed",
    "Directives",
    "ScriptError",
    "input_names",
    "read",
    "understand",
]
