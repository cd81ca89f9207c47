"""Job scripts: what their ``#SWM`` and ``#SBATCH`` lines ask for."""

from .completion import complete, input_names
from .errors import ScriptError
from .reading import Directives, read

__all__ = ["Directives", "ScriptError", "complete", "input_names", "read"]
