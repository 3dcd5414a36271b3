//! What the console output of an instance says of its bootstrap.

/// What became of the bootstrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was said of its end: it has not begun, is at work, or the console has not been posted yet.
    NotYet,
    /// The instance is a member of its layer.
    Done,
    /// It ended early.
    Failed {
        /// The step it ended at: `volumes`.
        step: String,
        /// The last lines of what that step said, joined by `; `.
        said: String,
    },
}

/// The steps, as the script announces them.
pub(super) const STEPS: [&str; 9] =
    ["start", "hostname", "volumes", "docker", "certificates", "access", "configuration", "engine", "growth"];

const MARK: &str = "evenkeel: bootstrap ";

/// What a console says (GetConsoleOutput, with `Latest` where the instance type has it) of the last bootstrap on it.
///
/// Each outcome is there up to twice, straight from the script and through cloud-init. The kernel writes whenever it
/// likes, also into a line, so the copy that can be read counts.
pub fn verdict(console: &str) -> Verdict {
    let mut verdict = Verdict::NotYet;
    for said in console.lines().filter_map(|line| line.split_once(MARK).map(|(_, said)| said)) {
        if said.starts_with("begins") {
            verdict = Verdict::NotYet;
        } else if said.starts_with("done") {
            verdict = Verdict::Done;
        } else if let Some(failure) = said.strip_prefix("FAILED at ") {
            let failed = failed(failure);
            if !verdict.is_clear() || failed.is_clear() {
                verdict = failed;
            }
        }
    }
    verdict
}

fn failed(failure: &str) -> Verdict {
    let (step, said) = failure.split_once(": ").unwrap_or((failure, ""));
    Verdict::Failed { step: step.trim().to_owned(), said: said.trim().to_owned() }
}

impl Verdict {
    fn is_clear(&self) -> bool {
        match self {
            Verdict::NotYet => false,
            Verdict::Done => true,
            Verdict::Failed { step, .. } => STEPS.contains(&step.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(step: &str, said: &str) -> Verdict {
        Verdict::Failed { step: step.into(), said: said.into() }
    }

    #[test]
    fn a_console_that_says_nothing_of_the_end_is_no_verdict() {
        for console in [
            "",
            "[    0.000000] Linux version 6.1.0-37-cloud-amd64\r\n",
            "evenkeel: bootstrap begins\r\n[   21.5] cloud-init[812]: evenkeel: volumes\r\n",
            "[   21.5] cloud-init[812]: evenkeel: waiting: /dev/sdf for /var/lib/docker to be attached\r\n",
            "evenkeel: bootstrap beg",
        ] {
            assert_eq!(verdict(console), Verdict::NotYet, "{console}");
        }
    }

    #[test]
    fn done_is_seen_between_the_lines_of_others() {
        let console = "\
            [   18.402913] cloud-init[1201]: Cloud-init v. 23.4.4 running 'modules:final'\r\n\
            evenkeel: bootstrap begins\r\n\
            [   18.731204] cloud-init[1201]: evenkeel: web1 of shop/docker\r\n\
            [   26.120031] EXT4-fs (nvme1n1): mounted filesystem with ordered data mode. Quota mode: none.\r\n\
            [   44.000101] cloud-init[1201]: evenkeel: engine\r\n\
            evenkeel: bootstrap done\r\n\
            [   46.202541] cloud-init[1201]: evenkeel: bootstrap done[   46.202544] br-2f: port 1 entered blocking state\r\n\
            \r\nDebian GNU/Linux 12 web1 ttyS0\r\n\r\nweb1 login: ";
        assert_eq!(verdict(console), Verdict::Done);
    }

    #[test]
    fn a_failure_names_its_step_and_its_last_words() {
        let console = "evenkeel: bootstrap begins\r\n\
            evenkeel: bootstrap FAILED at docker: E: Unable to locate package; gave up after 600 s: apt-get: no\r\n\
            [   12.3] cloud-init[9]: evenkeel: bootstrap FAILED at docker: E: Unable to locate package; gave up after 600 s: apt-get: no\r\n\
            [   12.4] cloud-init[9]: 2024-05-01 10:00:00,000 - cc_scripts_user.py[WARNING]: Failed to run module\r\n";
        assert_eq!(verdict(console), failed("docker", "E: Unable to locate package; gave up after 600 s: apt-get: no"));
    }

    #[test]
    fn what_a_failure_quotes_is_not_taken_for_an_outcome() {
        let console = "evenkeel: bootstrap FAILED at engine: log says evenkeel: bootstrap done\n";
        assert_eq!(verdict(console), failed("engine", "log says evenkeel: bootstrap done"));
    }

    #[test]
    fn the_copy_that_the_kernel_did_not_write_into_counts() {
        let garbled = "evenkeel: bootstrap FAILED at vol[   12.1] random: crng init done\numes: it is no use\n";
        let whole = "cloud-init[9]: evenkeel: bootstrap FAILED at volumes: it is no use\n";
        let expected = failed("volumes", "it is no use");
        assert_eq!(verdict(&format!("{garbled}{whole}")), expected);
        assert_eq!(verdict(&format!("{whole}{garbled}")), expected);
        assert!(matches!(verdict(garbled), Verdict::Failed { .. }), "a failure all the same");
    }

    #[test]
    fn the_last_run_counts() {
        let first = "evenkeel: bootstrap begins\nevenkeel: bootstrap FAILED at engine: no\n";
        let second = "evenkeel: bootstrap begins\nevenkeel: hostname\n";
        assert_eq!(verdict(&format!("{first}{second}")), Verdict::NotYet);
        assert_eq!(verdict(&format!("{first}{second}evenkeel: bootstrap done\n")), Verdict::Done);
        let good = "evenkeel: bootstrap begins\nevenkeel: bootstrap done\n";
        assert_eq!(verdict(&format!("{good}{first}")), failed("engine", "no"));
    }
}
