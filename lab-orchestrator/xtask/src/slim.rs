//! The generated code of the page, made shorter and no different.
//!
//! wasm-bindgen calls each function that it hands to the wasm by a long name with a hash in it, in
//! the wasm and in its JavaScript, and writes its JavaScript for people. Five thousand bytes of the
//! page are saved by short names and by lines without indents and comments.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, bail};
use walrus::Module;

/// The module all of the wasm's imports come from, as wasm-bindgen calls it.
const MODULE: &str = "./lab-ui_bg.js";

/// The same in short.
const SHORT_MODULE: &str = "a";

/// The wasm and its JavaScript, with short names for what the one takes from the other.
pub(crate) fn slim(wasm: &[u8], script: &str) -> Result<(Vec<u8>, String)> {
    let mut module = Module::from_buffer(wasm).map_err(|error| anyhow!("{error:#}"))?;
    let mut names = BTreeMap::new();
    let script = renamed(script, &mut names)?;
    for import in module.imports.iter_mut() {
        let short = names.get(&import.name).filter(|_| import.module == MODULE);
        let Some(short) = short else {
            bail!("`{}` of `{}` is not in the page's JavaScript", import.name, import.module);
        };
        import.name.clone_from(short);
        SHORT_MODULE.clone_into(&mut import.module);
    }
    Ok((module.emit_wasm(), bare(&script)?))
}

/// The JavaScript with short names in its table of imports, which are noted.
fn renamed(script: &str, names: &mut BTreeMap<String, String>) -> Result<String> {
    let module = format!("\"{MODULE}\"");
    if !script.contains(&module) {
        bail!("find {module} in the page's JavaScript");
    }
    let mut renamed = String::with_capacity(script.len());
    for line in script.replace(&module, &format!("\"{SHORT_MODULE}\"")).lines() {
        let name = line.trim_start().split_once(": ").map(|(name, _)| name);
        match name.filter(|name| name.starts_with("__wb")) {
            Some(name) => {
                let short = short_name(names.len());
                renamed.push_str(&line.replacen(name, &short, 1));
                names.insert(name.to_owned(), short);
            }
            None => renamed.push_str(line),
        }
        renamed.push('\n');
    }
    Ok(renamed)
}

/// `aa`, `ab`, … `zz`, and on with more letters.
fn short_name(mut count: usize) -> String {
    let mut name = String::new();
    while count > 0 || name.len() < 2 {
        name.insert(0, char::from(b'a' + (count % 26) as u8));
        count /= 26;
    }
    name
}

/// The JavaScript without indents, empty lines and comments that have lines of their own.
fn bare(script: &str) -> Result<String> {
    let mut bare = String::with_capacity(script.len());
    let mut comment = false;
    for line in script.lines().map(str::trim) {
        if line.matches('`').count() % 2 == 1 {
            bail!("a text of several lines is in the page's JavaScript: leave its indents: {line}");
        }
        comment |= line.starts_with("/*");
        if !comment && !line.is_empty() && !line.starts_with("//") {
            bare.push_str(line);
            bare.push('\n');
        }
        comment &= !line.ends_with("*/");
    }
    (!comment).then_some(bare).context("find the end of the last comment in the page's JavaScript")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_each_its_own() {
        let names: Vec<_> = (0..1_000).map(short_name).collect();
        assert_eq!(
            (names[0].as_str(), names[27].as_str(), names[676].as_str()),
            ("aa", "bb", "baa")
        );
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn imports_are_renamed_on_both_sides() {
        let mut module = Module::default();
        let of_nothing = module.types.add(&[], &[]);
        module.add_import_func(MODULE, "__wbg_open_0123456789abcdef", of_nothing);
        let script = "const import0 = {\n    // Opens.\n    __wbg_open_0123456789abcdef: \
                      function() {\n        open();\n    },\n};\nreturn { \"./lab-ui_bg.js\": import0 };\n";
        let (wasm, script) = slim(&module.emit_wasm(), script).expect("slim");
        assert_eq!(
            script,
            "const import0 = {\naa: function() {\nopen();\n},\n};\nreturn { \"a\": import0 };\n"
        );
        let module = Module::from_buffer(&wasm).expect("wasm");
        let import = module.imports.iter().next().expect("its import");
        assert_eq!((import.module.as_str(), import.name.as_str()), ("a", "aa"));
    }

    #[test]
    fn what_the_script_does_not_have_is_named() {
        let mut module = Module::default();
        let of_nothing = module.types.add(&[], &[]);
        module.add_import_func(MODULE, "__wbg_open_0123456789abcdef", of_nothing);
        let refused = slim(&module.emit_wasm(), "({ \"./lab-ui_bg.js\": {} })\n");
        let words = refused.expect_err("refused").to_string();
        assert!(words.contains("__wbg_open_0123456789abcdef"), "{words}");
    }
}
