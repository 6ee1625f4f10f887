//! Trees that grow with their rows.
//!
//! 1. `normal`: what a leaf knows of a feature within a class
//! 2. `leaf`, `split`: what a leaf thinks of a row, and where it would be cut
//! 3. `arena`: nodes in one flat list, and how they grow
//! 4. `hoeffding`: [`HoeffdingTree`], for streams that stay the same
//! 5. `adaptive`: [`AdaptiveTree`], which grows other branches where its errors become more
//! 6. `forest`: [`AdaptiveForest`], ten trees that vote
//! 7. `half_space`: [`HalfSpaceTrees`], which say how unusual a row is
//! 8. `random`: draws that are part of the state

mod adaptive;
mod arena;
mod forest;
mod half_space;
mod hoeffding;
mod leaf;
mod normal;
mod random;
mod split;

pub use self::adaptive::AdaptiveTree;
pub use self::forest::AdaptiveForest;
pub use self::half_space::{HalfSpaceTrees, Unlike};
pub use self::hoeffding::HoeffdingTree;
