"""Tables from rows: pandas and rich, no torch. Figures and pages follow."""
