"""Raw patient data -> validated, split and normalised arrays. The first stage of the flow."""
