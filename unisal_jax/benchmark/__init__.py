"""Speed of prediction: beside its peers, and as a share of what the machine can do."""
