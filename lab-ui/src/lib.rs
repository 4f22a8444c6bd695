//! The page: a Raft cluster that can be seen and broken.
//!
//! ```text
//!  app ──► view ──► paint ──► scene ──► model          feed beside: the lab's socket
//! ```
//!
//! [`model`] folds what the lab sends and knows what time it is; [`scene`] turns it into plain
//! drawing marks and answers what is under a pointer. Both are pure and tested on the host.
//! [`paint`] alone touches a canvas, [`view`] is the text and the controls (Yew), [`feed`] is the
//! websocket. What moves is drawn on three canvases straight from the model, once a frame; Yew
//! sees a summary of it at most ten times a second, and only when it changed.
//!
//! Nothing here asks for a picture of what *should* happen: a click becomes a command to the lab,
//! and the page changes when the journal says that something did.

pub mod app;
pub mod feed;
pub mod model;
pub mod paint;
pub mod scene;
pub mod view;
