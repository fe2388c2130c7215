"""Published systems as models: ``create_model("glsim")``, or ``timm.create_model("fgbench_glsim")``."""

from fgbench.models.build import create_model, register_with_timm
from fgbench.models.model import Explanation, Model
from fgbench.plugins.kinds import models

__all__ = ["Explanation", "Model", "create_model", "models"]

register_with_timm()
