"""Adapters to timm backbones; the published models follow."""
