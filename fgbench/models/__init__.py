"""Published systems as models: ``create_model("glsim")``, or ``timm.create_model("fgbench_glsim")``.

Importing this package registers them with timm, and the backbone that is shipped with its weights:
``timm.create_model("vit_fgbench_patch12_96", pretrained=True)``.
"""

import fgbench.models.shipped  # noqa: F401  # registers the shipped backbone with timm
from fgbench.models.build import create_model, register_with_timm
from fgbench.models.model import Explanation, Model
from fgbench.plugins.kinds import models

__all__ = ["Explanation", "Model", "create_model", "models"]

register_with_timm()
