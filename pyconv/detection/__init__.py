"""Single shot detection around the network: boxes, matching, loss, post-processing, and how good what is found is."""
