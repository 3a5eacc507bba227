"""Networks.

backbones        torchvision and timm backbones by name, their weights
weights_file     weights from a file as people have them
slice_attention  gated attention over several slices
heatmap_fpn      heatmaps from a feature pyramid: the locator
"""
