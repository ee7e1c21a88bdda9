"""Numbers that losses and scores have by default, and configurations too."""

MARGIN = 0.2  # of the hinge loss and of trip
SPECIFICITY_MARGIN = 0.15  # of VSSR's specificity loss
CONTRASTIVE_TEMPERATURE = 0.01  # of VSSR's contrastive loss
CODING_TEMPERATURE = 0.1  # of codings of fragments and their poolings
SINKHORN_ITERATIONS = 3  # of assignments to prototypes
