"""Every error that unwarp raises on purpose.

ValueError
  + UnwarpError
    + ShapeError          a tensor's shape does not fit
    + SpaceError          two maps do not meet, or a value lies outside its space
    + ContextError        context is missing, unexpected or of another shape
    + ConfigError         an argument or option has no meaning
      + RecipeError       no such recipe, or an option it does not know
    + DataError           a table that cannot be used
    + BundleError         a model file that cannot be trusted or written
    + NotConvergedError   training ended without a usable model
NotImplementedError
  + NotInvertibleError    this direction does not exist

Messages follow one template: ``{where}: expected {what}; got {what}. {one thing to do}``.
"""

__all__ = [
    "BundleError",
    "ConfigError",
    "ContextError",
    "DataError",
    "NotConvergedError",
    "NotInvertibleError",
    "RecipeError",
    "ShapeError",
    "SpaceError",
    "UnwarpError",
]


class UnwarpError(ValueError):
    """Base of every error that unwarp raises on purpose."""


class ShapeError(UnwarpError):
    """A tensor's shape does not fit."""


class SpaceError(UnwarpError):
    """Two maps do not meet, or a value lies outside its space."""


class ContextError(UnwarpError):
    """Context is missing, unexpected or of another shape."""


class ConfigError(UnwarpError):
    """An argument or option has no meaning."""


class RecipeError(ConfigError):
    """No such recipe, or an option that the recipe does not know."""


class DataError(UnwarpError):
    """A table that cannot be used."""


class BundleError(UnwarpError):
    """A model file that cannot be trusted or written."""


class NotConvergedError(UnwarpError):
    """Training ended without a usable model."""


class NotInvertibleError(NotImplementedError):
    """This direction of a map does not exist."""
