"""What people bring to public checkpoints: LoRAs, ControlNets, learnt words, other autoencoders."""
