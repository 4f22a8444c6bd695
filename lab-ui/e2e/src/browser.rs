//! One Chromium with an empty profile, and tabs that remember every complaint of their console.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use chromiumoxide::browser::{Browser, BrowserConfig};
use chromiumoxide::cdp::browser_protocol::emulation::{
    MediaFeature, SetDeviceMetricsOverrideParams, SetEmulatedMediaParams,
};
use chromiumoxide::cdp::browser_protocol::log::{EventEntryAdded, LogEntryLevel};
use chromiumoxide::cdp::js_protocol::runtime::{
    ConsoleApiCalledType, EvaluateParams, EventConsoleApiCalled, EventExceptionThrown,
};
use chromiumoxide::page::{Page, ScreenshotParams};
use futures_util::StreamExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How often a condition is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(50);

/// What Chromium is told besides `--headless` and `--no-sandbox`: no GPU, and nothing that speaks
/// to anyone but the lab.
const FLAGS: [&str; 7] = [
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
];

/// A browser; closed by [`Chromium::close`], killed when dropped.
pub(crate) struct Chromium {
    browser: Browser,
    tasks: JoinSet<()>,
    _profile: TempDir,
}

impl Chromium {
    /// Starts the browser with an empty profile.
    pub(crate) async fn start(program: &Path) -> Result<Self> {
        let profile = tempfile::tempdir().context("make a browser profile")?;
        let config = BrowserConfig::builder()
            .chrome_executable(found(program)?)
            .no_sandbox()
            .user_data_dir(profile.path())
            .window_size(1440, 900)
            .viewport(None)
            .args(FLAGS)
            .build()
            .map_err(|error| anyhow!("set up Chromium: {error}"))?;
        let (browser, mut handler) =
            Browser::launch(config).await.context("start Chromium (does it run by hand?)")?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { while handler.next().await.is_some() {} });
        Ok(Self { browser, tasks, _profile: profile })
    }

    /// Opens a tab that is empty and listened to.
    pub(crate) async fn tab(&mut self) -> Result<Tab> {
        let page = self.browser.new_page("about:blank").await.context("open a tab")?;
        page.enable_log().await.context("listen to the browser's log")?;
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let note = |complaints: &Arc<Mutex<Vec<String>>>, text: String| {
            complaints.lock().expect("nobody panics while holding it").push(text);
        };

        let mut exceptions = page.event_listener::<EventExceptionThrown>().await?;
        let shared = Arc::clone(&complaints);
        self.tasks.spawn(async move {
            while let Some(event) = exceptions.next().await {
                let details = &event.exception_details;
                let what = details
                    .exception
                    .as_ref()
                    .and_then(|exception| exception.description.clone())
                    .unwrap_or_else(|| details.text.clone());
                note(&shared, format!("exception: {what}"));
            }
        });
        let mut console = page.event_listener::<EventConsoleApiCalled>().await?;
        let shared = Arc::clone(&complaints);
        self.tasks.spawn(async move {
            while let Some(event) = console.next().await {
                let grave = [ConsoleApiCalledType::Error, ConsoleApiCalledType::Assert];
                if grave.contains(&event.r#type) {
                    let words: Vec<String> = event
                        .args
                        .iter()
                        .filter_map(|argument| {
                            let value = argument.value.as_ref().map(ToString::to_string);
                            value.or_else(|| argument.description.clone())
                        })
                        .collect();
                    note(&shared, format!("console: {}", words.join(" ")));
                }
            }
        });
        let mut log = page.event_listener::<EventEntryAdded>().await?;
        let shared = Arc::clone(&complaints);
        self.tasks.spawn(async move {
            while let Some(event) = log.next().await {
                if event.entry.level == LogEntryLevel::Error {
                    let place = event.entry.url.clone().unwrap_or_default();
                    note(&shared, format!("log: {} {place}", event.entry.text));
                }
            }
        });
        Ok(Tab { page, complaints })
    }

    /// Closes the browser and waits for it.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.browser.close().await.context("close Chromium")?;
        self.browser.wait().await.context("wait for Chromium")?;
        self.tasks.shutdown().await;
        Ok(())
    }
}

/// A program by path or by name on the search path.
fn found(program: &Path) -> Result<std::path::PathBuf> {
    if program.is_file() {
        return Ok(program.to_owned());
    }
    let path = std::env::var_os("PATH").context("read PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("find {} on the search path", program.display()))
}

/// A tab.
pub(crate) struct Tab {
    page: Page,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Tab {
    /// The tab for the DevTools protocol itself.
    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    /// Goes to an address and waits until it has loaded.
    pub(crate) async fn go(&self, url: &str) -> Result<()> {
        self.page.goto(url).await.with_context(|| format!("open {url}"))?;
        Ok(())
    }

    /// The value of a JavaScript expression; promises are awaited.
    pub(crate) async fn value(&self, expression: &str) -> Result<Value> {
        let parameters = EvaluateParams::builder()
            .expression(expression)
            .await_promise(true)
            .return_by_value(true)
            .build()
            .map_err(|error| anyhow!("ask the page: {error}"))?;
        let answer = self
            .page
            .evaluate_expression(parameters)
            .await
            .with_context(|| format!("ask the page for `{}`", shortened(expression)))?;
        Ok(answer.value().cloned().unwrap_or(Value::Null))
    }

    /// The value of an expression that is text, or a number, or `null` (then empty).
    pub(crate) async fn text(&self, expression: &str) -> Result<String> {
        Ok(match self.value(expression).await? {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        })
    }

    /// The value of an expression that is a number.
    pub(crate) async fn number(&self, expression: &str) -> Result<f64> {
        let value = self.value(expression).await?;
        let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        number
            .with_context(|| format!("read `{}` as a number: it is {value}", shortened(expression)))
    }

    /// Waits until an expression is true; the error says what was awaited and what `seen` is.
    pub(crate) async fn wait(
        &self,
        what: &str,
        condition: &str,
        seen: &str,
        allowed: Duration,
    ) -> Result<Duration> {
        let began = Instant::now();
        loop {
            // While a page loads there is nobody to ask: that is "not yet".
            if self.value(condition).await.is_ok_and(|value| value == Value::Bool(true)) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > allowed {
                let seen = self.text(seen).await.unwrap_or_else(|error| format!("{error:#}"));
                return Err(anyhow!(
                    "see within {} s that {what}; the page has: {seen}; its console: {:?}",
                    allowed.as_secs(),
                    self.complaints()
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Clicks an element with the mouse, where a person would.
    pub(crate) async fn click(&self, selector: &str) -> Result<()> {
        let clicked = async {
            self.page.find_element(selector).await?.click().await?;
            anyhow::Ok(())
        };
        clicked.await.with_context(|| format!("click `{selector}`"))
    }

    /// Clicks the button that is called so.
    pub(crate) async fn click_named(&self, name: &str) -> Result<()> {
        let path = format!("//button[normalize-space()='{name}']");
        let clicked = async {
            self.page.find_xpath(path).await?.click().await?;
            anyhow::Ok(())
        };
        clicked.await.with_context(|| format!("click the button `{name}`"))
    }

    /// Puts the keyboard's focus on an element and presses a key.
    pub(crate) async fn press(&self, selector: &str, key: &str) -> Result<()> {
        let pressed = async {
            self.page.find_element(selector).await?.focus().await?.press_key(key).await?;
            anyhow::Ok(())
        };
        pressed.await.with_context(|| format!("press {key} on `{selector}`"))
    }

    /// Clicks a field, types a text into it, and presses Enter.
    pub(crate) async fn enter(&self, selector: &str, text: &str) -> Result<()> {
        let entered = async {
            let field = self.page.find_element(selector).await?;
            field.click().await?.type_str(text).await?.press_key("Enter").await?;
            anyhow::Ok(())
        };
        entered.await.with_context(|| format!("type into `{selector}`"))
    }

    /// Sets the window's size, and whether the system asks for dark and for little motion.
    pub(crate) async fn look(&self, look: Look) -> Result<()> {
        let Look { width, height, mobile, dark, calm } = look;
        let size = SetDeviceMetricsOverrideParams::new(width, height, 1.0, mobile);
        self.page.execute(size).await.context("set the window's size")?;
        let feature = |name: &str, value: &str| MediaFeature {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let media = SetEmulatedMediaParams::builder()
            .features([
                feature("prefers-color-scheme", if dark { "dark" } else { "light" }),
                feature("prefers-reduced-motion", if calm { "reduce" } else { "no-preference" }),
            ])
            .build();
        self.page.execute(media).await.context("set the system's wishes")?;
        Ok(())
    }

    /// Writes a picture of the window.
    pub(crate) async fn picture(&self, path: &Path) -> Result<()> {
        self.page
            .save_screenshot(ScreenshotParams::builder().build(), path)
            .await
            .with_context(|| format!("write {}", path.display()))?;
        Ok(())
    }

    /// All that the console complained about so far.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().expect("nobody panics while holding it").clone()
    }

    /// Fails when the console complained.
    pub(crate) fn ensure_silent(&self) -> Result<()> {
        let complaints = self.complaints();
        ensure!(
            complaints.is_empty(),
            "keep the console silent: {} complaints: {}",
            complaints.len(),
            complaints.join("; ")
        );
        Ok(())
    }
}

/// How a window looks, in CSS pixels.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: i64,
    pub(crate) height: i64,
    pub(crate) mobile: bool,
    pub(crate) dark: bool,
    pub(crate) calm: bool,
}

impl Look {
    /// A desktop window in light colours.
    pub(crate) const DESKTOP: Self =
        Self { width: 1440, height: 900, mobile: false, dark: false, calm: false };
}

fn shortened(expression: &str) -> String {
    expression.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(100).collect()
}
