"""How like real pictures a model's are: distances, what they show, whether they are copies."""
