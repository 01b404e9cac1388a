"""What a server keeps: jobs, pictures, what was brought along, who its workers are."""
