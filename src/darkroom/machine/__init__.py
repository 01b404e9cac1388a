"""What this machine has: cores and memory. To be asked before torch is imported."""
