"""Tables from rows: pandas and rich, no torch. Figures and pages follow."""

import fgbench.results  # noqa: F401  # fgbench knows the earlier names of modules
