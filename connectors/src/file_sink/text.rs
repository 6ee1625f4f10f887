//! `TextOutput`: rows of text on their way to files or to objects, whichever the folder is.

use headwater::Result;
use headwater::sink::{Cut, Delivery, Staged};
use headwater::time::Epoch;

use super::layout::Layout;
#[cfg(feature = "object-store")]
use super::objects::ObjectOutput;
use super::output::FileOutput;
use crate::store;

/// The files or objects of one writer.
#[derive(Debug)]
pub(crate) enum TextOutput {
    Files(FileOutput),
    #[cfg(feature = "object-store")]
    Objects(ObjectOutput),
}

impl TextOutput {
    /// # Errors
    /// Nothing can be written there.
    pub(crate) fn new(mut layout: Layout, header: Vec<u8>) -> Result<Self> {
        if store::is_url(&layout.folder) {
            #[cfg(feature = "object-store")]
            return Ok(TextOutput::Objects(ObjectOutput::new(layout, header)?));
            #[cfg(not(feature = "object-store"))]
            return Err(store::not_built(&layout.folder));
        }
        layout.folder = store::local(&layout.folder).to_owned();
        Ok(TextOutput::Files(FileOutput::new(layout, header)?))
    }

    pub(crate) fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        match self {
            TextOutput::Files(files) => files.write(encode),
            #[cfg(feature = "object-store")]
            TextOutput::Objects(objects) => {
                objects.write(encode);
                Ok(())
            }
        }
    }

    pub(crate) fn prepare(&mut self, cut: Cut) -> Result<Staged> {
        match self {
            TextOutput::Files(files) => files.prepare(cut),
            #[cfg(feature = "object-store")]
            TextOutput::Objects(objects) => Ok(objects.prepare(cut)),
        }
    }

    pub(crate) fn commit(&mut self, staged: &Staged) -> Result<Delivery> {
        match self {
            TextOutput::Files(files) => files.commit(staged),
            #[cfg(feature = "object-store")]
            TextOutput::Objects(objects) => objects.commit(staged),
        }
    }

    pub(crate) fn recover(&mut self, epochs: &[(Epoch, Staged)]) -> Result<Delivery> {
        match self {
            TextOutput::Files(files) => files.recover(epochs),
            #[cfg(feature = "object-store")]
            TextOutput::Objects(objects) => objects.recover(epochs),
        }
    }
}
