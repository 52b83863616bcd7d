"""mmc: the core behind the executable book on losses for adversarial robustness.

Rooms: `theory` (SymPy), `centers`, `density`, `losses`, `models`, `data`, `attacks`, `training`, `lab`, `claims`.
Importing this package imports nothing heavy.
"""

__version__ = "0.1.0"
