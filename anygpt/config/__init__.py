"""Configs: their schema, the files that hold their values, and how values become checked objects."""

from anygpt.config.files import read_values as read_values
from anygpt.config.files import shipped_configs as shipped_configs
from anygpt.config.loading import load_stack_config as load_stack_config
from anygpt.config.loading import save_config as save_config
from anygpt.config.resolve import resolve as resolve
from anygpt.config.resolve import resolve_component as resolve_component
from anygpt.config.schema import Limits as Limits
from anygpt.config.schema import ServiceLimits as ServiceLimits
from anygpt.config.schema import StackConfig as StackConfig
from anygpt.config.schema import StagePlacement as StagePlacement
