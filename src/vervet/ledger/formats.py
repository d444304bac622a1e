from dataclasses import dataclass


@dataclass
class Imported:
    pass
