"""What all nodes know together, beside the bus: who is connected where, and what everybody may still do."""
