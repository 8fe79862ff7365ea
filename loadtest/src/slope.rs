//! Whether a series rises: the line through it, and how sure one may be of its slope.

use serde::Serialize;

/// Standard deviations that leave out 2.5 % of a normal distribution on each side.
const Z: f64 = 1.959_964;
/// Points below which nothing is said.
const POINTS_MIN: usize = 5;

/// The slope of a line by least squares, with the interval that holds the true one in 95 of 100
/// cases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Slope {
    /// Rise for one of x.
    pub(crate) slope: f64,
    /// The interval's lower end.
    pub(crate) low: f64,
    /// Its upper end.
    pub(crate) high: f64,
    /// Points that went into it.
    pub(crate) points: usize,
}

impl Slope {
    /// Of these points, which lie at equal distances of x; `None` if they are too few to say
    /// anything.
    ///
    /// Memory is read each second, and one second is much like the last: taken for independent
    /// such points would seem surer than they are. So their number is lowered by the correlation
    /// of neighbours, `n (1 - r) / (1 + r)`, as for a series of first order, but to no less than
    /// [`POINTS_MIN`]: a curve is not a reason to say nothing.
    pub(crate) fn of(points: &[(f64, f64)]) -> Option<Slope> {
        if points.len() < POINTS_MIN {
            return None;
        }
        let n = points.len() as f64;
        let (x, y) = points
            .iter()
            .fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        let (x, y) = (x / n, y / n);
        let (mut xy, mut xx) = (0.0, 0.0);
        for point in points {
            xy += (point.0 - x) * (point.1 - y);
            xx += (point.0 - x) * (point.0 - x);
        }
        if xx <= 0.0 {
            return None;
        }
        let slope = xy / xx;
        let rest: Vec<f64> = points
            .iter()
            .map(|point| point.1 - y - slope * (point.0 - x))
            .collect();
        let squares: f64 = rest.iter().map(|r| r * r).sum();
        let neighbours: f64 = rest.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let alike = if squares > 0.0 {
            neighbours / squares
        } else {
            0.0
        };
        let alike = alike.clamp(0.0, 0.999);
        let independent = (n * (1.0 - alike) / (1.0 + alike)).max(POINTS_MIN as f64);
        let freedom = independent - 2.0;
        let error = (squares / freedom / xx).sqrt();
        let half = quantile_of_t(freedom) * error;
        Some(Slope {
            slope,
            low: slope - half,
            high: slope + half,
            points: points.len(),
        })
    }
}

/// What Student's t does not exceed in 97.5 of 100 cases, by its expansion around the normal
/// distribution: within 2 % from three degrees of freedom on.
fn quantile_of_t(freedom: f64) -> f64 {
    let (z, z3, z5, z7) = (Z, Z.powi(3), Z.powi(5), Z.powi(7));
    z + (z3 + z) / (4.0 * freedom)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * freedom.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * freedom.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of this slope with noise, each point of which keeps a part of the last one's.
    fn series(slope: f64, keeps: f64, seed: u64) -> Vec<(f64, f64)> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut noise = 0.0;
        let point = |i| {
            noise = keeps * noise + rng.f64() - 0.5;
            let x = f64::from(i) / 60.0;
            (x, slope * x + noise)
        };
        (0..600).map(point).collect()
    }

    #[test]
    fn a_line_is_found_exactly() {
        let points: Vec<(f64, f64)> = (0..10)
            .map(|i| (f64::from(i), 3.0 * f64::from(i) + 7.0))
            .collect();
        let slope = Slope::of(&points).unwrap();
        assert!((slope.slope - 3.0).abs() < 1e-9 && slope.high - slope.low < 1e-9);
        assert_eq!(Slope::of(&points[..1]), None);
        assert_eq!(Slope::of(&points[..4]), None);
        assert_eq!(Slope::of(&[]), None);
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        for keeps in [0.0, 0.9] {
            let holds = |seed| {
                let slope = Slope::of(&series(0.0, keeps, seed)).unwrap();
                slope.low <= 0.0 && 0.0 <= slope.high
            };
            let held = (0..200).filter(|seed| holds(*seed)).count();
            assert!((178..=198).contains(&held), "{held} of 200 with {keeps}");
        }
    }

    #[test]
    fn a_rise_is_told_from_noise() {
        let slope = Slope::of(&series(1.0, 0.9, 7)).unwrap();
        assert!(slope.low > 0.0, "{slope:?}");
    }

    #[test]
    fn what_rises_by_steps_rises_and_what_has_levelled_off_does_not() {
        let steps: Vec<(f64, f64)> = (0..600)
            .map(|i| (f64::from(i), f64::from(i / 60)))
            .collect();
        assert!(Slope::of(&steps).unwrap().low > 0.0);
        let flat = |i: i32| if (300..330).contains(&i) { 4.0 } else { 1.0 };
        let flat: Vec<(f64, f64)> = (0..600).map(|i| (f64::from(i), flat(i))).collect();
        assert!(Slope::of(&flat).unwrap().low <= 0.0);
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, table) in [(3.0, 3.182), (5.0, 2.571), (10.0, 2.228), (100.0, 1.984)] {
            assert!((quantile_of_t(freedom) / table - 1.0).abs() < 0.02);
        }
    }
}
