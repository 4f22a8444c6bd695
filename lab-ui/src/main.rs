//! Puts the page into the document.

fn main() {
    yew::Renderer::<lab_ui::app::App>::new().render();
}
