"""From a pretrained backbone to a task: inputs, heads, the joint objective, and a baseline to beat."""
