"""Networks.

backbones        torchvision and timm backbones by name, their weights
weights_file     weights from a file as people have them
gated_attention  the attention pooling that the next two share
slice_attention  gated attention over several slices
view_attention   gated attention over all views of a site
heatmap_fpn      heatmaps from a feature pyramid: the locator
"""
