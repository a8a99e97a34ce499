//! Where and with what it was measured.

use std::fs;
use std::process::Command;

use crate::options::Options;

/// Names and values, in the order in which they are told.
pub(crate) struct Machine {
    pub(crate) facts: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn describe(options: &Options) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned();
        let cpus = cpu.lines().filter(|line| line.starts_with("processor")).count();
        let is_virtual = cpu.lines().any(|line| {
            line.starts_with("flags") && line.split(' ').any(|flag| flag == "hypervisor")
        });
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory.lines().next().and_then(|line| line.split_whitespace().nth(1));
        let gigabytes = memory.and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1e6;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
        let upsplice = options.upsplice.to_string_lossy();
        let root = env!("CARGO_MANIFEST_DIR");
        let commit = ["-C", root, "describe", "--always", "--dirty", "--exclude", "*"];
        Self {
            facts: vec![
                ("date", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string()),
                ("CPU", format!("{cpus} × {model}{}", if is_virtual { ", virtual" } else { "" })),
                ("memory", format!("{gigabytes:.0} GB")),
                ("kernel", kernel.trim().to_owned()),
                ("congestion control", congestion.unwrap_or_default().trim().to_owned()),
                ("upsplice", format!("{} ({})", said(&upsplice, "-v"), output("git", &commit))),
                ("nginx", said("nginx", "-v")),
                ("HAProxy", said("haproxy", "-v")),
            ],
        }
    }
}

/// The first line that a program says about its version.
fn said(program: &str, option: &str) -> String {
    let text = output(program, &[option]);
    let version = text.split(['/', ':']).next_back().unwrap_or_default();
    match text.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
        Some(word) => word.to_owned(),
        None => version.trim().to_owned(),
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    // Pinning is inherited, which does not matter here.
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return "not installed".to_owned();
    };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}
