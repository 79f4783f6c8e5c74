"""Features of images: encoders, and the bank of tables that all metrics of whole datasets read.

An encoder of the configuration names its `encoder`, which is looked up in :data:`ENCODERS`. Adding one is a
subclass of :class:`mirage.evaluate.features.encoder.Encoder`, its options in :mod:`mirage.config.encoders`, a
line here and one in :mod:`mirage.versions`. Nothing here imports PyTorch before an encoder needs it.
"""

ENCODERS = {
    "pixpca": "mirage.evaluate.features.pixpca:PixelPca",
    "radiomics": "mirage.evaluate.features.radiomics:Radiomics",
    "pretrained": "mirage.evaluate.features.pretrained:Pretrained",
    "ssl": "mirage.evaluate.features.ssl:SelfSupervised",
    "randconv": "mirage.evaluate.features.randconv:RandomConv",
}
"""`encoder` of an entry -> its class."""
