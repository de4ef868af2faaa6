//! Counts the words of a text: `the cat the` becomes `{"words": 3, "lines": 1, "top": [["the", 2], ["cat", 1]]}`.
//!
//! The parameters are the text: as `text/plain`, or as a JSON string. The config key `top` says how many of the most
//! frequent words are told (10 if silent). A word is what white space separates, without the punctuation around it; ASCII
//! letters count in either case. (The tables for every alphabet would double the module.)

mod pawl;

use std::collections::BTreeMap;
use std::fmt::Write;

/// The form without a result: an error that was set fails the task all the same.
#[no_mangle]
pub extern "C" fn execute_task() {
    match run() {
        Ok(report) => pawl::output(&report),
        Err(message) => pawl::fail("INVALID_INPUT", message),
    }
}

fn run() -> Result<String, &'static str> {
    let given = String::from_utf8(pawl::input()).map_err(|_| "parameters: not UTF-8")?;
    let is_json = pawl::config("task.content_type").map_or(false, |kind| kind.starts_with("application/json"));
    let text = if is_json { json_string(given.trim())? } else { given };
    let top = match pawl::config("top") {
        Some(number) => number.parse::<usize>().map_err(|_| "config.top: a whole number is needed")?,
        None => 10,
    };
    pawl::log(&format!("counting {} bytes", text.len()));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut words = 0;
    for word in text.split_ascii_whitespace().map(|word| word.trim_matches(|c: char| c.is_ascii_punctuation())) {
        if !word.is_empty() {
            words += 1;
            *counts.entry(word.to_ascii_lowercase()).or_default() += 1;
        }
    }
    pawl::progress(50);
    Ok(report(words, text.lines().count(), counts, top))
}

fn report(words: usize, lines: usize, counts: BTreeMap<String, usize>, top: usize) -> String {
    let mut ranked: Vec<_> = counts.into_iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut json = format!("{{\"words\": {words}, \"lines\": {lines}, \"top\": [");
    for (index, (word, count)) in ranked.iter().take(top).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(json, "{comma}[\"{}\", {count}]", as_json(word));
    }
    json.push_str("]}");
    json
}

fn as_json(word: &str) -> String {
    let mut inside = String::with_capacity(word.len());
    for c in word.chars() {
        match c {
            '"' | '\\' => inside.extend(['\\', c]),
            '\0'..='\x1f' => drop(write!(inside, "\\u{:04x}", c as u32)),
            _ => inside.push(c),
        }
    }
    inside
}

const NOT_A_STRING: &str = "parameters: a JSON string is needed";

fn json_string(source: &str) -> Result<String, &'static str> {
    let inside = source.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(NOT_A_STRING)?;
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\0'..='\x1f' => return Err(NOT_A_STRING),
            '\\' => text.push(escaped(&mut rest).ok_or(NOT_A_STRING)?),
            _ => text.push(c),
        }
    }
    Ok(text)
}

fn escaped(rest: &mut std::str::Chars<'_>) -> Option<char> {
    Some(match rest.next()? {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\x08',
        'f' => '\x0c',
        'u' => {
            let high = unit(rest)?;
            let units = if (0xd800..0xdc00).contains(&high) {
                if (rest.next()?, rest.next()?) != ('\\', 'u') {
                    return None;
                }
                vec![high, unit(rest)?]
            } else {
                vec![high]
            };
            char::decode_utf16(units).next()?.ok()?
        }
        c @ ('"' | '\\' | '/') => c,
        _ => return None,
    })
}

fn unit(rest: &mut std::str::Chars<'_>) -> Option<u16> {
    let mut value = 0;
    for _ in 0..4 {
        value = value << 4 | rest.next()?.to_digit(16)? as u16;
    }
    Some(value)
}
