"""What a sentence says, part by part: facts that can be checked, roles, words that are near others."""
