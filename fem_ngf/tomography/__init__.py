"""Electrical impedance tomography of a tank: measurements, difference imaging, segmentation, score."""

from .calibration import Calibration as Calibration
from .calibration import calibrate as calibrate
from .difference import DifferenceModel as DifferenceModel
from .score import score as score
from .segmentation import PixelGrid as PixelGrid
from .segmentation import segment as segment
from .smoothness import Smoothness as Smoothness
from .tank import Measurement as Measurement
from .tank import electrode_names as electrode_names
from .tank import read_measurement as read_measurement
from .tank import read_tank as read_tank
from .tank import read_truth as read_truth
from .voltage_noise import noise_factor as noise_factor
from .voltage_noise import standard_deviation as standard_deviation
