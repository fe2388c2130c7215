"""Plug-ins that break the rules, and the expected message for each."""

from __future__ import annotations

SELECTOR = '''
from fgbench_selectors import Needs, Selector
class {name}(Selector{bases}):
    """Length of every patch token."""
    needs, score_shape = Needs(tokens=True), ("batch", "patches")
    {more}
    def published(self, features):
        return features.read_tokens()[:, features.num_prefix_tokens:].norm(dim=-1)
'''
MODEL = '''
from fgbench.models.vit import ViT
class {name}(ViT{bases}):
    """A plain transformer of mine."""
    {more}
'''
DATASET = '''
from pathlib import Path
from fgbench.datasets.dataset import DataSet
from fgbench.datasets.synthetic.dataset import synthetic
def {lower}(data_dir: Path | None) -> DataSet:
    """Drawn pictures of mine."""
    return synthetic(None, classes=4, train_images=8, test_images=4)
{more}
'''
REPORT = '''
import pandas as pd
from fgbench_reports.report import Data, Drawing, Figure, Missing, Report, Table
class {name}(Report{bases}):
    """How many rows there are."""
    {more}
    def items(self, data: Data):
        frame = pd.DataFrame({{"kind": ["flops"], "rows": [len(data.flops)]}})
        yield Table(name="rows", title="Rows", frame=frame, printed=frame.astype(str), names=("kind",))
'''
ENGINE = '''
from fgbench.measure.engine import Batch, Engine
class {name}(Engine{bases}):
    """An engine of mine that runs nothing."""
    {more}
    def load(self, subject):
        return lambda batch_size: Batch(lambda: None)
'''
KINDS = {"selectors": SELECTOR, "models": MODEL, "datasets": DATASET, "engines": ENGINE, "reports": REPORT}


def plugin(kind: str, name: str, more: str = "", bases: str = "") -> str:
    """The text of a file that defines one object of a kind."""
    return KINDS[kind].format(name=name, lower=name.lower(), more=more, bases=bases)


# What a file does while it is imported → what is said of it.
AT_IMPORT = {
    "raises": ("raise KeyError('no')", "KeyError: 'no'"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "signals_itself": ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", "KeyboardInterrupt"),
    "leaves": ("raise SystemExit(0)", "it calls sys.exit(0)"),
    "ends_a_generator": ("raise GeneratorExit", "GeneratorExit"),
    "raises_the_base": ("class E(BaseException): pass\nraise E('x')", "E: x"),
    "recurses": ("def f(): f()\nf()", "RecursionError"),
    "has_no_memory": ("raise MemoryError", "MemoryError"),
    "raises_what_interrupts": (
        "class E(Exception):\n    def __str__(self): raise KeyboardInterrupt\nraise E",
        "an exception that cannot be shown",
    ),
    "says_much": ("raise ValueError('x' * 10**7)", "ValueError: xxx"),
    "ends_the_process": ("import os; os._exit(0)", "left with exit code 0"),
    "is_killed": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "segfaults": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "aborts": ("import os; os.abort()", "SIGABRT"),
    "forks": ("import os; os.fork()", "it forks this process"),
    "forks_and_dies": ("import os\nif os.fork(): os._exit(0)", "left with exit code 0"),
    "closes_output": ("import os; os.close(1)", "it closes standard output"),
    "closes_everything": ("import os; os.closerange(3, 1000)", "left with exit code"),
    "leaves_a_thread": (
        "import threading, time; threading.Thread(target=time.sleep, args=[9999]).start()",
        "threads running",
    ),
    "handles_an_alarm": (
        "import signal; signal.signal(signal.SIGALRM, lambda *_: None)",
        "it changes what happens at SIGALRM",
    ),
    "is_deaf": ("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)", "SIGINT"),
    "sets_an_alarm": ("import signal; signal.alarm(9999)", "it changes the time of an alarm"),
    "blocks_signals": (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])",
        "it changes the signals that are blocked",
    ),
    "limits_recursion": ("import sys; sys.setrecursionlimit(300)", "it changes the limits of recursion"),
    "limits_time": (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (99, 99))",
        "it changes the limits of time or memory",
    ),
    "leaves_at_exit": (
        "import atexit, sys; atexit.register(sys.exit, 7)",
        "sys.exit(7) when the program ends",
    ),
    "ends_at_exit": ("import atexit, os; atexit.register(os._exit, 7)", "left with exit code 7"),
    "prints_elsewhere": ("import io, sys; sys.stdout = io.StringIO()", "it changes where Python prints"),
    "prints_nowhere": ("import sys; sys.stderr = None", "it changes where Python prints"),
    "replaces_a_builtin": ("import builtins; builtins.print = None", "it changes builtins.print"),
    "replaces_functions": ("import os, sys; sys.exit = os._exit = print", "it changes os._exit, sys.exit"),
    "deletes_a_builtin": ("import builtins; del builtins.ascii", "it changes builtins.ascii"),
    "clears_the_path": ("import fgbench_reports.report, pandas, sys; sys.path.clear()", "out of sys.path"),
    "forgets_modules": ("import sys; del sys.modules['fgbench.errors']", "it takes away the modules fgbench.errors"),
    "replaces_modules": ("import sys; sys.modules['fgbench.errors'] = 3", "it takes away the modules fgbench.errors"),
    "makes_warnings_errors": ("import warnings; warnings.simplefilter('error')", "which warnings are errors"),
    "changes_the_dtype": ("import torch; torch.set_default_dtype(torch.float64)", "it changes torch's default dtype"),
    "changes_the_device": (
        "import torch; torch.set_default_device('meta')",
        "it changes torch's default dtype, device",
    ),
    "has_no_gradients": ("import torch; torch.set_grad_enabled(False)", "or gradients"),
    "goes_elsewhere": ("import os; os.chdir('/')", "it changes the working directory"),
    "clears_the_environment": ("import os; os.environ.clear()", "it takes away the environment variables"),
    "moves_the_store": ("import os; os.environ['FGBENCH_STORE'] = '/nowhere'", "FGBENCH_STORE"),
    "prints_without_end": ("while True: print('x' * 10**6)", "File too large"),
    "writes_to_all": (
        "import contextlib, os\nfor n in range(3, 200):\n"
        '    with contextlib.suppress(OSError): os.write(n, b\'{"done": {"objects": 1}}\\n\')',
        "it wrote over what its trial found",
    ),
    "holds_nothing": ("x = 1", "no report (a class derived from fgbench_reports.report.Report)"),
    "is_no_python": ("def (", "SyntaxError"),
}
# These take as long as they may.
ENDLESS = {
    "never_ends": ("while True: pass", "it is not imported within"),
    "stops_itself": ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", "it is not imported within"),
    "catches_all": ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "not imported"),
}
# Without a word about them: what they do reaches nobody else.
HARMLESS = {
    "says_goodbye": "import atexit; atexit.register(print, 'bye')",
    "fails_at_exit": "import atexit; atexit.register(int, 'x')",
    "prints": "import os; print('spoken'); os.system('echo spoken'); os.write(1, b'spoken')",
    "adds_a_variable": "import os; os.environ['MINE_ALONE'] = '1'",
    "adds_to_the_path": "import sys; sys.path.insert(0, 'beside')",
    "ignores_warnings": "import warnings; warnings.simplefilter('ignore')",
    "adds_a_hook": "import sys; sys.excepthook = print",
    "uses_torch": "import torch; torch.set_default_device('cpu')",
    "leaves_a_daemon": "import threading, time; threading.Thread(target=time.sleep, args=[9999], daemon=True).start()",
}

META = (
    "class Meta(type(Selector)):\n"
    "    @property\n"
    "    def {field}(cls): raise KeyboardInterrupt\n"
)  # fmt: skip

# What an object declares → what is said of it, for each kind.
DECLARED = {
    "selectors": {
        "needs = 3": "'needs' must be a",
        "score_shape = 5": "'score_shape' must be a tuple",
        "score_shape = ('batch', ['patches'])": "'score_shape' must be a tuple",
        "score_shape = property(lambda self: 1 / 0)": "'score_shape' must be a tuple",
        "learned = 'yes'": "'learned' must be True or False",
        "__signature__ = 5": "TypeError",
        "__doc__ = 5": "its docstring must be words",
        "name = ['a']": "no plain word",
        "name = 'a b'": "no plain word",
        "name = b'x'": "no plain word",
        "name = property(lambda self: 1 / 0)": "no plain word",
    },
    "models": {
        "default_backbone = 5": "'default_backbone' must be a name",
        "accepts = 7": "'accepts' must be a tuple of score shapes",
        "accepts = ('batch', 'patches')": "'accepts' must be a tuple of score shapes",
        "accepts = ((1, 2),)": "'accepts' must be a tuple of score shapes",
        "two_impls = 'no'": "'two_impls' must be True or False",
        "__init__ = 5": "TypeError",
        "__doc__ = b'x'": "its docstring must be words",
        "flow = __import__('fgbench').models.model.Model.flow": "it has no method 'flow(images)'",
        "name = 5": "no plain word",
    },
    "datasets": {
        "odd.published = 3": "'published' must be a Published",
        "odd.holds = ['a']": "'holds' must be words",
        "odd.__doc__ = 5": "its docstring must be words",
        "odd.name = 5": "no plain word",
    },
    "engines": {
        "devices = 7": "'devices' must be a tuple of names",
        "devices = ('tpu',)": "'devices' must be a tuple out of",
        "dtypes = ('float32', 3)": "'dtypes' must be a tuple of names",
        "dtypes = property(lambda self: 1 / 0)": "'dtypes' must be a tuple of names",
        "__doc__ = 5": "its docstring must be words",
        "name = 5": "no plain word",
    },
    "reports": {
        "title = 5": "'title' must be words",
        "title = property(lambda self: 1 / 0)": "'title' must be words",
        "__doc__ = 7": "its docstring must be words",
        "name = 5": "no plain word",
    },
}
