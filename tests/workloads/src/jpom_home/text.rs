//! What generated files say.
//!
//! Owns: log lines, class files, sources and scripts that compress about as the real ones do.
//! Never: touches the file system.
//! Invariant: text is a function of the random stream it is given.

use std::fmt::Write;

use crate::calendar::Date;
use crate::random::Random;

const CLASS_WORDS: [&[u8]; 6] = [
    b"org/springframework/context/",
    b"java/util/concurrent/Future",
    b"()Ljava/lang/Object;\x01\x00",
    b"\xca\xfe\xba\xbe\x00\x00\x00\x34",
    b"LocalVariableTable",
    b"StackMapTable",
];
const LEVELS: [&str; 5] = ["INFO ", "INFO ", "DEBUG", "WARN ", "ERROR"];
const LOGGERS: [&str; 3] = ["build.BuildExecuteManage", "service.node.NodeService", "socket.TailWatcher"];
const MESSAGES: [&str; 4] = ["构建完成", "节点状态异常", "ssh monitor", "heartbeat of node"];

/// Bytes like a class file: names from the constant pool and code that does not repeat.
pub(super) fn class_file(random: &mut Random, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        if random.chance(0.7) {
            bytes.extend_from_slice(random.pick::<&[u8]>(&CLASS_WORDS));
            bytes.push(random.next_u64() as u8);
        } else {
            bytes.extend(random.bytes(40));
        }
    }
    bytes.truncate(length);
    bytes
}

/// Lines of a Jpom log that begin at this time.
pub(super) fn log(random: &mut Random, lines: u64, start: i64) -> String {
    let mut text = String::new();
    let mut time = start;
    for _ in 0..lines {
        time += random.between(1, 90) as i64;
        log_line(&mut text, random, time);
    }
    text
}

fn log_line(text: &mut String, random: &mut Random, time: i64) {
    let line = format!(
        "{}.{:03} [http-nio-2122-exec-{}] {} o.d.jpom.{} [Manage.java:{}] - {} {}\n",
        Date::of(time),
        random.below(1000),
        random.below(20),
        random.pick(&LEVELS),
        random.pick(&LOGGERS),
        random.below(900),
        random.pick(&MESSAGES),
        random.identifier()
    );
    text.push_str(&line);
}

/// A Java source file.
pub(super) fn source(random: &mut Random) -> String {
    let mut text = String::from("package com.acme;\n");
    for _ in 0..random.between(20, 200) {
        let name = random.identifier();
        let (field, value) = (random.below(99), random.below(9999));
        // Writing into a String cannot fail.
        let _ = writeln!(text, "// {name}\n  int f{field} = {value};");
    }
    text
}

/// A shell script.
pub(super) fn script(random: &mut Random, lines: usize) -> String {
    let body = (0..lines).map(|_| format!("echo {}\n", random.identifier()));
    std::iter::once("#!/bin/bash\n".to_owned()).chain(body).collect()
}

/// Lines of hexadecimal digits, as a key or a certificate has.
pub(super) fn key(random: &mut Random, title: &str, lines: usize) -> String {
    let body: String = (0..lines).map(|_| format!("{}{}\n", random.identifier(), random.identifier())).collect();
    format!("-----BEGIN {title}-----\n{body}-----END {title}-----\n")
}
