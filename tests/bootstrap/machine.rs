//! A machine to run user-data on: mount, process and hostname namespaces of its own, real loop devices as its volumes,
//! and stand-ins for what would reach beyond it (package managers, systemd, the engine).

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use evenkeel::bootstrap::{Verdict, verdict};
use tempfile::TempDir;

/// Where the stand-ins are.
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bootstrap");

/// A volume: a sparse file behind a loop device, which goes with it.
pub struct Disk {
    file: tempfile::NamedTempFile,
    device: String,
}

impl Disk {
    pub fn new(mib: u64) -> Disk {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(mib << 20).expect("a sparse file");
        let path = file.path().to_str().expect("a path");
        let device = run("losetup", &["--find", "--show", path]).trim().to_owned();
        Disk { file, device }
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    pub fn write(&self, offset: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt;
        let device = fs::OpenOptions::new().write(true).open(&self.device).expect("the device");
        device.write_all_at(bytes, offset).expect("room for it");
        device.sync_all().expect("it is written");
    }

    pub fn grow(&self, mib: u64) {
        self.file.as_file().set_len(mib << 20).expect("a sparse file");
        run("losetup", &["--set-capacity", &self.device]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

/// How a command inside ended.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub struct Machine {
    directory: TempDir,
    devices: String,
    lacking: String,
    environment: Vec<(String, String)>,
}

impl Machine {
    /// With Docker in its AMI.
    pub fn new() -> Machine {
        let machine = Machine::of("debian");
        machine.put("local/sbin/dockerd", "#!/bin/true\n");
        run("chmod", &["755", machine.files("local/sbin/dockerd").to_str().expect("a path")]);
        machine
    }

    /// Bare, of a distribution: `amzn`, `ubuntu`, `debian` or `arch`.
    pub fn of(distribution: &str) -> Machine {
        let directory = TempDir::new().expect("a directory");
        fs::create_dir_all(directory.path().join("mnt")).expect("a directory");
        let machine = Machine { directory, devices: String::new(), lacking: String::new(), environment: Vec::new() };
        let (release, command) = match distribution {
            "amzn" => (
                "NAME=\"Amazon Linux\"\nVERSION=\"2023\"\nID=\"amzn\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"2023\"\n",
                "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $OPTIONS $DOCKER_STORAGE_OPTIONS \
                 $DOCKER_ADD_RUNTIMES",
            ),
            "ubuntu" => (
                "PRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n",
                "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock",
            ),
            "debian" => (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n",
                "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS",
            ),
            _ => ("NAME=\"Arch Linux\"\nID=arch\nBUILD_ID=rolling\n", "/usr/bin/dockerd -H fd://"),
        };
        machine.put("etc/os-release", release);
        machine.put(
            "run/units/docker.service",
            &format!("[Service]\nExecStartPre=/bin/mkdir -p /run/docker\nExecStart={command}\n"),
        );
        machine
    }

    /// Attaches a volume under the name that the kernel gives it, `xvdf`.
    pub fn attach(&mut self, name: &str, disk: &Disk) {
        self.devices += &format!("{}\n", self.node(name, disk));
    }

    /// `NAME MAJOR MINOR`, as mknod takes them.
    pub fn node(&self, name: &str, disk: &Disk) -> String {
        format!("{name} {}", run("lsblk", &["-dnro", "MAJ:MIN", &disk.device]).trim().replace(':', " "))
    }

    /// Its AMI does not have a tool of `/usr/sbin`.
    pub fn lacks(&mut self, tool: &str) {
        self.lacking += &format!("{tool} ");
    }

    pub fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A file of the AMI, `etc/docker/daemon.json`.
    pub fn put(&self, path: &str, text: &str) {
        let path = self.files(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn files(&self, path: &str) -> PathBuf {
        self.directory.path().join("files").join(path)
    }

    /// A file as it is now.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.directory.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.directory.path().join(path).exists()
    }

    /// Boots, and runs commands of bash; `user_data` is the script.
    pub fn run(&self, script: &str, commands: &str) -> Ran {
        let directory = self.directory.path();
        fs::create_dir_all(directory.join("files/run")).expect("a directory");
        self.put("run/user-data", script);
        if directory.join("run").exists() {
            fs::write(directory.join("run/user-data"), script).expect("a file");
        }
        fs::write(directory.join("devices"), &self.devices).expect("a file");
        fs::write(directory.join("lacking"), &self.lacking).expect("a file");
        let Output { status, stdout, stderr } = Command::new("unshare")
            .args(["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg("bash")
            .arg(format!("{HERE}/machine.sh"))
            .arg(directory)
            .arg(format!("{HERE}/stubs"))
            .arg(commands)
            .envs(self.environment.iter().cloned())
            .output()
            .expect("unshare");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: status.code(), stdout: text(&stdout), stderr: text(&stderr) }
    }

    /// Boots with this user-data.
    pub fn boot(&self, script: &str) -> Ran {
        self.run(script, "user_data")
    }

    /// Boots with this user-data, which does its work.
    pub fn joins(&self, script: &str) {
        let ran = self.boot(script);
        assert_eq!(self.verdict(), Verdict::Done, "{}{}\n{}", ran.stdout, ran.stderr, self.log());
        assert_eq!(ran.code, Some(0));
    }

    /// Boots with this user-data, which fails at a step; what it said of it on the console.
    pub fn fails(&self, script: &str, at: &str) -> String {
        let ran = self.boot(script);
        let Verdict::Failed { step, said } = self.verdict() else {
            panic!("it did not fail: {}{}\n{}", ran.stdout, ran.stderr, self.log())
        };
        assert_eq!(step, at, "{said}");
        assert_eq!(ran.code, Some(1));
        assert_eq!(verdict(&ran.stdout), self.verdict(), "cloud-init is told the same");
        said
    }

    pub fn verdict(&self) -> Verdict {
        verdict(&self.read("console"))
    }

    /// What the commands said.
    pub fn log(&self) -> String {
        self.read("var/log/evenkeel-bootstrap.log")
    }

    /// Calls of the stand-ins.
    pub fn calls(&self) -> String {
        self.read("run/calls")
    }
}

/// What a command of this host prints.
pub fn run(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output().unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(output.status.success(), "{command} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
