"""Golden model, cycle model, compiled simulation, virtual board."""
