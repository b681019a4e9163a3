//! The headers and the library cannot drift apart: the C compiler compares them.
//!
//! A C file is written that includes both headers, declares each function once more as
//! the Rust sources have it, and asserts each size, offset and number. A declaration that
//! is not the same is an error in C.

#![cfg(feature = "capi")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test: it links std, and a panic is a failure"
)]

use addrspace::capi::mmap_c::{MMapError, MMapInfo};
use addrspace::capi::status::Status;
use addrspace::capi::structs::*;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const SOURCES: [&str; 2] = ["src/capi/mmap_c.rs", "src/capi/addrspace_h.rs"];
const HEADERS: [&str; 2] = ["include/mmap_c.h", "include/addrspace.h"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// A type of the sources in C.
fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    if let Some(to) = rust.strip_prefix("*mut ") {
        return format!("{} *", c_type(to));
    }
    if let Some(to) = rust.strip_prefix("*const ") {
        return format!("const {} *", c_type(to));
    }
    match rust {
        "usize" => "size_t",
        "u64" => "uint64_t",
        "i64" => "int64_t",
        "u32" => "uint32_t",
        "i32" => "int32_t",
        "c_int" => "int",
        "c_char" => "char",
        "c_void" | "" => "void",
        "bool" => "bool",
        "Status" | "AnyStatus" => "addrspace_status",
        "Option<UpdateFn>" => "addrspace_update_fn",
        "Option<KeepFn>" => "addrspace_keep_fn",
        "Option<MMapUpdateFn>" => "MMapUpdateFn",
        "MMapAddrSpace" => "struct MMapAddrSpace",
        "MMapInfo" => "struct MMapInfo",
        "MMapError" => "enum MMapError",
        "Addrspace" => "addrspace",
        _ => return snake(rust),
    }
    .to_owned()
}

/// `AddrspaceMapping` as `addrspace_mapping`.
fn snake(camel: &str) -> String {
    let mut snake = String::new();
    for letter in camel.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The arguments and the result of a signature that starts behind its `(`.
fn signature(rest: &str) -> (String, String) {
    let end = rest.find(')').unwrap();
    let arguments = rest[..end].split(',').map(str::trim).filter(|argument| !argument.is_empty());
    // In the type of a function the arguments have no names.
    let types = arguments.map(|argument| argument.rsplit(": ").next().unwrap());
    let types: Vec<String> = types.map(c_type).collect();
    let rest = rest[end + 1..].trim_start();
    let result = rest.strip_prefix("->").map_or("", |rest| rest.split(['{', ';']).next().unwrap());
    let types = if types.is_empty() { "void".to_owned() } else { types.join(", ") };
    (types, c_type(result))
}

/// The functions that the sources export: name, arguments, result.
fn exported(source: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for item in source.split("#[unsafe(no_mangle)]").skip(1) {
        let (_, rest) = item.split_once("extern \"C\" fn ").unwrap();
        let (name, rest) = rest.split_once('(').unwrap();
        let (arguments, result) = signature(rest);
        found.push((name.to_owned(), arguments, result));
    }
    found
}

/// The types of callbacks that the sources declare.
fn callbacks(source: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (at, start) in source.match_indices("pub type ") {
        let (name, rest) = source[at + start.len()..].split_once(" = ").unwrap();
        let rest = rest.strip_prefix("unsafe extern \"C\" fn(").unwrap();
        let (arguments, result) = signature(rest);
        found.push((c_type(&format!("Option<{name}>")), arguments, result));
    }
    found
}

fn without_comments(header: &str) -> String {
    let mut text = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        text.push_str(before);
        rest = comment.split_once("*/").unwrap().1;
    }
    text + rest
}

/// The functions that a header declares.
fn declared(header: &str) -> BTreeSet<String> {
    let text = without_comments(header);
    let words = text.match_indices('(').map(|(at, _)| {
        let before = &text[..at];
        let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_');
        before[start.map_or(0, |start| start + 1)..].to_owned()
    });
    words.filter(|word| word.starts_with("mmap_") || word.starts_with("addrspace_")).collect()
}

/// The numbers that a header names.
fn named(header: &str) -> BTreeSet<String> {
    let text = without_comments(header);
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut names: BTreeSet<String> = words
        .filter(|word| word.starts_with("ADDRSPACE_") || word.starts_with("MMAP_"))
        .map(str::to_owned)
        .collect();
    names.retain(|name| !name.ends_with("_INIT") && name != "ADDRSPACE_H");
    names
}

/// The numbers that the library knows.
fn numbers() -> Vec<(String, i64)> {
    let mut numbers: Vec<(String, i64)> = [
        ("MMAP_OK", MMapError::Ok),
        ("MMAP_INVAL", MMapError::Inval),
        ("MMAP_NOMEM", MMapError::NoMem),
    ]
    .map(|(name, error)| (name.to_owned(), error as i64))
    .into();
    numbers.extend(Status::ALL.iter().map(|status| {
        let name = snake(&format!("{status:?}")).to_uppercase();
        (format!("ADDRSPACE_{name}"), status.number().into())
    }));
    let named = [
        ("ANONYMOUS", backing::ANONYMOUS),
        ("FILE", backing::FILE),
        ("PHYSICAL", backing::PHYSICAL),
        ("TAG", backing::TAG),
        ("SHARED", addrspace::MapFlags::SHARED.bits()),
        ("LOWEST", policy::LOWEST),
        ("HIGHEST", policy::HIGHEST),
        ("NTH", policy::NTH),
        ("RANDOM", policy::RANDOM),
        ("NEAR", option::NEAR),
        ("WITHIN", option::WITHIN),
        ("IN_PLACE", target::IN_PLACE),
        ("MAY_MOVE", target::MAY_MOVE),
        ("TO", target::TO),
        ("LIMIT_BYTES", limit::BYTES),
        ("LIMIT_REGIONS", limit::REGIONS),
        ("MAP", kind::MAP),
        ("UNMAP", kind::UNMAP),
        ("PROTECT", kind::PROTECT),
        ("FLAGS", kind::FLAGS),
        ("MOVE", kind::MOVE),
        ("GAPS_FOREIGN", gaps::FOREIGN),
        ("GAPS_OWNED", gaps::OWNED),
    ];
    numbers.extend(named.map(|(name, number)| (format!("ADDRSPACE_{name}"), number.into())));
    numbers
}

/// A struct: name, size, members with their types and offsets.
type Layout = (&'static str, usize, &'static [(&'static str, &'static str, usize)]);

/// The structs of both headers.
fn layouts() -> Vec<Layout> {
    macro_rules! layouts {
        ($($name:ident)*) => {
            vec![$((stringify!($name), size_of::<$name>(), $name::LAYOUT)),*]
        };
    }
    layouts!(
        MMapInfo AddrspaceMapping AddrspaceRegion AddrspacePlacement AddrspaceRemapping AddrspaceLimits
        AddrspaceUsage AddrspaceSpan AddrspaceCursor AddrspaceError AddrspaceUpdate
    )
}

fn program(sources: &[String], headers: [&Path; 2]) -> String {
    let mut c = headers.map(|header| format!("#include \"{}\"\n", header.display())).concat();
    let assert = |c: &mut String, what: String| {
        writeln!(c, "_Static_assert({what}, \"{what}\");").unwrap();
    };
    for source in sources {
        for (name, arguments, result) in callbacks(source) {
            writeln!(c, "typedef {result} (*{name})({arguments});").unwrap();
        }
        for (name, arguments, result) in exported(source) {
            writeln!(c, "{result} {name}({arguments});").unwrap();
        }
    }
    for (name, number) in numbers() {
        assert(&mut c, format!("{name} == {number}"));
    }
    for (name, size, members) in layouts() {
        let name = c_type(name);
        assert(&mut c, format!("sizeof({name}) == {size}"));
        for (member, rust, offset) in members {
            assert(&mut c, format!("offsetof({name}, {member}) == {offset}"));
            let typed = c_type(rust);
            let member = format!("(({name} *)0)->{member}");
            assert(&mut c, format!("_Generic({member}, {typed}: 1, default: 0)"));
        }
        // The initialiser has the size, and a value for each member.
        let init = name.to_uppercase() + "_INIT";
        if !name.contains("MMap") && name != "addrspace_update" {
            writeln!(c, "const {name} init_{name} = {init};").unwrap();
        }
    }
    assert(&mut c, "sizeof(enum MMapError) == 4 && sizeof(addrspace_status) == 4".to_owned());
    c
}

/// Compiles `c`, and tells what the compiler says if it refuses.
fn compile(name: &str, c: &str) -> Result<(), String> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (file, object) = (dir.join(format!("{name}.c")), dir.join(format!("{name}.o")));
    fs::write(&file, c).unwrap();
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    // The one that Rust links with, so it is there.
    let output = Command::new(&compiler)
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "-o"])
        .arg(object)
        .arg(file)
        .output()
        .unwrap_or_else(|error| panic!("NOT TESTED: {compiler} cannot be run: {error}"));
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn headers() -> [PathBuf; 2] {
    HEADERS.map(|header| root().join(header))
}

#[test]
fn the_compiler_finds_the_headers_and_the_library_alike() {
    let [mmap_c, addrspace] = headers();
    compile("headers", &program(&SOURCES.map(text), [&mmap_c, &addrspace])).unwrap();
}

#[test]
fn each_function_is_declared_and_each_declaration_is_a_function() {
    for (source, header) in SOURCES.iter().zip(HEADERS) {
        let exported: BTreeSet<String> =
            exported(&text(source)).into_iter().map(|(name, ..)| name).collect();
        assert!(exported.len() >= 11, "the functions of {source} were found");
        assert_eq!(exported, declared(&text(header)), "{source} and {header}");
    }
}

#[test]
fn each_number_of_the_headers_is_compared() {
    let in_headers: BTreeSet<String> =
        HEADERS.iter().flat_map(|header| named(&text(header))).collect();
    let compared: BTreeSet<String> = numbers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(in_headers, compared);
}

#[test]
fn a_source_that_has_drifted_is_found() {
    let [mmap_c, addrspace] = headers();
    let drifted = |from: &str, to: &str| {
        let sources = SOURCES.map(|source| text(source).replacen(from, to, 1));
        assert_ne!(sources, SOURCES.map(text), "{from} is in a source");
        compile("source", &program(&sources, [&mmap_c, &addrspace])).unwrap_err();
    };
    drifted("hint: usize", "hint: u32");
    drifted("prot: u32,", "prot: u64,");
    drifted("addr: u64,\n    len: u64,\n    set", "addr: u64,\n    set");
    drifted("-> u64 {", "-> u32 {");
    drifted("fn(*const AddrspaceUpdate, *mut c_void) -> c_int", "fn(*mut c_void) -> c_int");
}

#[test]
fn a_header_that_has_drifted_is_found() {
    let sources = SOURCES.map(text);
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let drifted = |nth: usize, from: &str, to: &str| {
        let mut headers = headers();
        let changed = text(HEADERS[nth]).replacen(from, to, 1);
        assert_ne!(changed, text(HEADERS[nth]), "{from} is in a header");
        headers[nth] = dir.join("drifted.h");
        fs::write(&headers[nth], changed).unwrap();
        let [mmap_c, addrspace] = &headers;
        compile("header", &program(&sources, [mmap_c, addrspace])).unwrap_err();
    };
    // Two members of one type, in the other order.
    drifted(0, "int prot;", "int flags; int prot_;");
    drifted(0, "int fd; ", "unsigned fd; ");
    drifted(1, "    int32_t sys_errno;", "    uint32_t sys_errno;");
    drifted(1, "ADDRSPACE_NO_ROOM = 16", "ADDRSPACE_NO_ROOM = 17");
    drifted(1, "    uint64_t hint; ", "    uint64_t hint_;\n    uint64_t hint; ");
}
