"""Four networks that the paper compares its models with, reconstructed: only a title or an abstract documents them.

The head of each module says what is documented and what is ours. Their scores say nothing about the published networks.
"""
