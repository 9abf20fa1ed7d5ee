"""What synthetic series are worth to models that are trained on them: TSTR and TSRTR."""
