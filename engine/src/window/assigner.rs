//! Which windows an event time belongs to: `[start, end)`, aligned to the epoch of time.
//!
//! Overlapping windows share slices: a record is added to one slice, and a window is the merge of the
//! slices it covers. A slice is as long as the greatest common divisor of size and slide.

use std::time::Duration;

use crate::time::{TIME_MAX, Timestamp, millis};

/// The shape of event-time windows.
///
/// ```
/// use headwater::prelude::*;
///
/// let minute = Window::tumbling(minutes(1));
/// let overlapping = Window::sliding(secs(10), secs(2)).offset(secs(1));
/// assert_eq!(minute.size_ms(), 60_000);
/// assert_eq!(overlapping.slide_ms(), 2_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    size: i64,
    slide: i64,
    offset: i64,
}

impl Window {
    /// Windows of `size`, one after the other.
    #[must_use]
    pub fn tumbling(size: Duration) -> Self {
        Window { size: millis(size), slide: millis(size), offset: 0 }
    }

    /// Windows of `size`, a new one every `slide`.
    #[must_use]
    pub fn sliding(size: Duration, slide: Duration) -> Self {
        Window { size: millis(size), slide: millis(slide), offset: 0 }
    }

    /// Moves all window starts by `offset`: days that start at another hour than midnight UTC.
    #[must_use]
    pub fn offset(self, offset: Duration) -> Self {
        Window { offset: millis(offset), ..self }
    }

    /// Length of a window in milliseconds.
    #[must_use]
    pub fn size_ms(&self) -> i64 {
        self.size
    }

    /// Distance from one window start to the next in milliseconds.
    #[must_use]
    pub fn slide_ms(&self) -> i64 {
        self.slide
    }

    /// What is wrong with the shape, in words.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.size < 1 || self.slide < 1 {
            return Some("a window needs a size and a slide of at least one millisecond".to_owned());
        }
        if self.size > TIME_MAX || self.offset > TIME_MAX {
            return Some(format!("a window's size and offset are at most {TIME_MAX} ms"));
        }
        (self.slide > self.size).then(|| {
            format!(
                "windows of {} ms every {} ms leave gaps, and records in them would be lost; \
                 make the slide at most the size",
                self.size, self.slide
            )
        })
    }

    pub(crate) fn is_tumbling(&self) -> bool {
        self.size == self.slide
    }

    /// Length of a slice in milliseconds.
    pub(crate) fn slice_ms(&self) -> i64 {
        let (mut a, mut b) = (self.size, self.slide);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    }

    fn floor(&self, time: Timestamp, step: i64) -> Timestamp {
        time.saturating_sub(time.saturating_sub(self.offset).rem_euclid(step))
    }

    /// Start of the slice that a time falls into.
    pub(crate) fn slice(&self, time: Timestamp) -> Timestamp {
        self.floor(time, self.slice_ms())
    }

    /// Start of the first window that covers a slice.
    pub(crate) fn first_window(&self, slice: Timestamp) -> Timestamp {
        let before = slice.saturating_add(self.slice_ms()).saturating_sub(self.size);
        // Rounded up to a window start.
        self.floor(before.saturating_add(self.slide - 1), self.slide)
    }

    /// Start of the last window that covers a slice.
    pub(crate) fn last_window(&self, slice: Timestamp) -> Timestamp {
        self.floor(slice, self.slide)
    }

    /// End of a window, exclusive.
    pub(crate) fn end(&self, start: Timestamp) -> Timestamp {
        start.saturating_add(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::ms;

    /// Every window that covers `time`, by trying all starts near it.
    fn naive(window: Window, time: i64) -> Vec<i64> {
        (time - window.size..=time)
            .filter(|start| (start - window.offset).rem_euclid(window.slide) == 0)
            .filter(|start| *start <= time && time < start + window.size)
            .collect()
    }

    #[test]
    fn slices_cover_exactly_the_windows_of_a_time() {
        for (size, slide, offset) in [(10, 10, 0), (10, 2, 0), (10, 4, 1), (7, 3, 2), (5, 5, 3), (9, 6, 0)] {
            let window = Window::sliding(ms(size), ms(slide)).offset(ms(offset));
            for time in -40..40 {
                let slice = window.slice(time);
                assert!(slice <= time && time < slice + window.slice_ms());
                let (first, last) = (window.first_window(slice), window.last_window(slice));
                let windows: Vec<_> = (first..=last).step_by(slide as usize).collect();
                assert_eq!(windows, naive(window, time), "size {size} slide {slide} time {time}");
            }
        }
    }
}
