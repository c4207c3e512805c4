//! Each judgement on made-up facts.

use super::super::Verdict;
use super::*;

fn node_with(from: &str, to: &str) -> NodeConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples/gateway.toml");
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from));
    match sekisho_config::Config::parse(&text.replacen(from, to, 1)).unwrap() {
        sekisho_config::Config::Gateway(gateway) => gateway.node,
        _ => panic!("the example is a gateway"),
    }
}

#[test]
fn kernels_are_compared_as_numbers() {
    assert_eq!(kernel("6.18.44-fc-v669").verdict, Verdict::Pass);
    assert_eq!(kernel("5.10.0-28-amd64").verdict, Verdict::Pass);
    assert_eq!(kernel("5.9.0").verdict, Verdict::Pass);
    assert_eq!(kernel("5.8.19").verdict, Verdict::Fail);
    assert_eq!(kernel("4.19.0").verdict, Verdict::Fail);
    assert_eq!(kernel("").verdict, Verdict::Warn);
}

#[test]
fn missing_capabilities_are_named() {
    assert_eq!(
        capabilities(capability_set("Name:\tx\nCapEff:\t000001fffeffffff\n")).verdict,
        Verdict::Pass
    );
    let none = capabilities(capability_set("CapEff:\t0000000000000000\n"));
    assert_eq!(none.verdict, Verdict::Fail);
    assert!(none.mend.unwrap().ends_with("CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_ADMIN CAP_BPF"));
    let most = capabilities(!(1 << 39));
    assert!(
        most.what.starts_with("missing: CAP_BPF (loading") && !most.what.contains("NET"),
        "{}",
        most.what
    );
}

#[test]
fn memory_limits_count_only_where_the_kernel_counts() {
    let new = Some((6, 1));
    let lock = 1 << CAP_IPC_LOCK;
    assert_eq!(memlock(None, 0, new, Some(1 << 30)).verdict, Verdict::Pass);
    assert_eq!(memlock(Some(1 << 16), lock, new, Some(1 << 30)).verdict, Verdict::Pass);
    let short = memlock(Some(8 << 20), 0, new, Some(32 << 20));
    assert_eq!(
        (short.verdict, short.what.as_str()),
        (Verdict::Fail, "8 MiB may be locked, the frames need 32 MiB")
    );
    assert_eq!(memlock(Some(64 << 20), 0, new, Some(32 << 20)).verdict, Verdict::Pass);
    assert_eq!(memlock(Some(64 << 20), 0, Some((5, 10)), Some(32 << 20)).verdict, Verdict::Warn);
    assert_eq!(memlock(Some(64 << 20), 0, new, None).verdict, Verdict::Pass);
}

#[test]
fn frames_need_what_the_file_says() {
    assert_eq!(frame_memory(&node_with("count = 2", "count = 2")), 2 * 4096 * 4096);
}

#[test]
fn instructions_are_read_from_either_architecture() {
    let x86 = "model name\t: X\nflags\t\t: fpu aes pclmulqdq sse2\n";
    assert_eq!(cpu(x86).what, "AES, carry-less multiply, 128 bits wide");
    let wide = "flags\t\t: aes pclmulqdq avx512f vaes vpclmulqdq\n";
    assert!(cpu(wide).what.ends_with("both 512 bits wide"));
    assert_eq!(cpu("Features\t: fp asimd aes pmull sha2\n").verdict, Verdict::Pass);
    assert_eq!(cpu("flags\t\t: fpu sse2\n").verdict, Verdict::Warn);
    assert_eq!(cpu("").verdict, Verdict::Warn);
}

#[test]
fn allowed_cores_are_ranges_and_numbers() {
    assert_eq!(allowed_cores("Cpus_allowed_list:\t0-2,5,7-8\n"), [0, 1, 2, 5, 7, 8]);
    assert_eq!(allowed_cores(""), Vec::<u16>::new());
}

#[test]
fn workers_are_compared_with_the_cores_there_are() {
    let node = node_with("poll = \"adaptive\"", "poll = \"busy\"");
    assert_eq!(cores(&node, &[0, 1, 2, 3]).verdict, Verdict::Pass);
    assert_eq!(cores(&node, &[0, 1]).verdict, Verdict::Warn);
    let none = cores(&node, &[1, 2, 3]);
    assert_eq!(none.verdict, Verdict::Fail);
    assert!(none.what.contains("core 0 of") && none.mend.unwrap().contains("1 to 3"));
    assert_eq!(cores(&node_with("poll", "poll"), &[0, 1]).verdict, Verdict::Pass);
}

#[test]
fn slow_clocks_are_named() {
    assert_eq!(clock(Some("tsc")).verdict, Verdict::Pass);
    assert_eq!(clock(Some("kvm-clock")).verdict, Verdict::Pass);
    assert_eq!(clock(Some("hpet")).verdict, Verdict::Warn);
    assert_eq!(clock(None).verdict, Verdict::Pass);
}

#[test]
fn a_directory_on_another_file_system_is_no_bpffs() {
    let finding = bpffs(Path::new("/tmp/no/such/directory"));
    assert_eq!(finding.verdict, Verdict::Warn);
    assert!(finding.mend.unwrap().ends_with("mount -t bpf bpf /tmp/no/such/directory"));
}

#[test]
fn an_interpreted_program_is_slow() {
    assert_eq!(bpf_jit("1\n").verdict, Verdict::Pass);
    assert_eq!(bpf_jit("0\n").verdict, Verdict::Warn);
}
