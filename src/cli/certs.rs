//! `evenkeel certs`

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use jiff::{SignedDuration, Timestamp};

use super::fail;
use crate::{
    aws::Aws,
    docker::authority::{self, Authority, Leaf, Said},
    spec::{self, stack::AssumeRole},
};

/// What an SSM parameter of the standard tier holds. Source: `PutParameter` in the Systems Manager API reference.
const PARAMETER: usize = 4096;

/// Options.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel certs --dir ./certs
  evenkeel certs --dir ./certs --stack shop
  evenkeel certs --dir ./certs --stack shop --put --region eu-west-1
  evenkeel certs --dir ./certs --stack shop --put --region eu-west-1 \
    --role arn:aws:iam::222222222222:role/deployer --external-id shop
  evenkeel certs --dir ./certs --renew

The controller needs ca.pem, cert.pem and key.pem (--docker-certs). Keep ca-key.pem away from it: whoever has that \
can make engines that the controller trusts.")]
pub struct Args {
    /// Where they are, and where what is missing is put.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Make what the Docker engines of this stack show to the controller.
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// Put it into the SSM parameter from which the stack's instances take it. AWS credentials come from where the AWS
    /// tools look for them.
    #[arg(long, requires = "stack", requires = "region")]
    put: bool,
    /// The stack's region.
    #[arg(long, env = "AWS_REGION")]
    region: Option<String>,
    /// Put it as this role: that of the stack's account, where that is another one. It needs ssm:PutParameter.
    #[arg(long, value_name = "ARN", requires = "put")]
    role: Option<String>,
    /// What the trust policy of the role asks for.
    #[arg(long, value_name = "ID", requires = "role")]
    external_id: Option<String>,
    /// How long a certificate is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 825, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Replace the certificate: the controller's, or with --stack that stack's. The authority always stays.
    #[arg(long)]
    renew: bool,
}

/// Makes what is missing, and prints what there is.
pub async fn run(args: Args) -> ExitCode {
    match certs(&args, Timestamp::now()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

async fn certs(args: &Args, now: Timestamp) -> Result<(), String> {
    let shelf = Shelf { dir: args.dir.clone(), now, days: args.days };
    let mut told = vec![shelf.authority()?];
    let Some(stack) = &args.stack else {
        told.push(shelf.controller(args.renew)?);
        print(&told);
        return Ok(());
    };
    if spec::engine_label(stack).is_empty() {
        return Err(format!("{stack:?} is no name of a stack: it has neither letters nor digits"));
    }
    told.push(shelf.controller(false)?);
    let (file, line) = shelf.engine(stack, args.renew)?;
    told.push(line);
    print(&told);
    let parameter = spec::engine_parameter(stack);
    let region = args.region.as_deref();
    if args.put {
        let region = region.unwrap_or_default();
        let role = args.role.clone().map(|arn| AssumeRole { arn, external_id: args.external_id.clone() });
        let put = Aws::new().put_secure(region, role, &parameter, &read(&file)?).await;
        put.map_err(|trouble| trouble.message)?;
        println!("put     {parameter} in {region}: instances that start from now on show it");
    } else {
        let region = region.map_or(String::new(), |region| format!(" --region {region}"));
        println!(
            "\nPut it where the stack's instances take it from, with --put or with\n  aws ssm put-parameter{region} --type \
             SecureString --overwrite --name {parameter} --value {}",
            shell_words::quote(&format!("file://{}", file.display()))
        );
    }
    Ok(())
}

fn print(lines: &[String]) {
    lines.iter().for_each(|line| println!("{line}"));
}

/// A directory of certificates.
struct Shelf {
    dir: PathBuf,
    now: Timestamp,
    days: u32,
}

impl Shelf {
    /// Makes an authority where there is none.
    fn authority(&self) -> Result<String, String> {
        let (cert, key) = (self.dir.join("ca.pem"), self.dir.join("ca-key.pem"));
        if cert.exists() {
            return Ok(self.line("kept", &cert, &self.said(&cert)?));
        }
        if key.exists() {
            return Err(format!(
                "{} is there without {}: bring the certificate that belongs to it, or move the key away to begin with a \
                 new authority",
                key.display(),
                cert.display()
            ));
        }
        let made = Authority::make(self.now)?;
        make_dir(&self.dir)?;
        write(&key, &made.key, 0o600)?;
        write(&cert, &made.cert, 0o644)?;
        Ok(self.line("made", &cert, &self.said(&cert)?))
    }

    /// The controller's certificate and key.
    fn controller(&self, renew: bool) -> Result<String, String> {
        let (cert, key) = (self.dir.join("cert.pem"), self.dir.join("key.pem"));
        if !renew && cert.exists() && key.exists() {
            return self.kept(&cert, "--renew");
        }
        let Leaf { cert: made, key: secret } = self.signer()?.controller(self.now, self.days)?;
        let word = if cert.exists() { "renewed" } else { "made" };
        write(&key, &secret, 0o600)?;
        write(&cert, &made, 0o644)?;
        Ok(self.line(word, &cert, &self.said(&cert)?))
    }

    /// What the engines of a stack show: certificate, key and authority, in one file.
    fn engine(&self, stack: &str, renew: bool) -> Result<(PathBuf, String), String> {
        let dir = self.dir.join("engines");
        let file = dir.join(format!("{}.pem", spec::engine_label(stack)));
        if !renew && file.exists() {
            let line = self.kept(&file, &format!("--stack {} --renew", shell_words::quote(stack)))?;
            return Ok((file, line));
        }
        let Leaf { cert, key } = self.signer()?.engine(&spec::engine_name(stack), self.now, self.days)?;
        let bundle = cert + &key + &read(&self.dir.join("ca.pem"))?;
        if bundle.len() > PARAMETER {
            return Err(format!(
                "certificate, key and authority have {} bytes together and an SSM parameter takes {PARAMETER}: use an \
                 authority with a P-256 key, as this command makes",
                bundle.len()
            ));
        }
        let word = if file.exists() { "renewed" } else { "made" };
        make_dir(&dir)?;
        write(&file, &bundle, 0o600)?;
        let line = self.line(word, &file, &self.said(&file)?);
        Ok((file, line))
    }

    /// What is there already, if it can still be used.
    fn kept(&self, file: &Path, renew: &str) -> Result<String, String> {
        let ca = self.dir.join("ca.pem");
        if !authority::signed(read(&ca)?.as_bytes(), read(file)?.as_bytes()) {
            return Err(format!(
                "{} was not signed by {}; replace it: evenkeel certs --dir {} {renew}",
                file.display(),
                ca.display(),
                self.dir.display()
            ));
        }
        let said = self.said(file)?;
        let left = said.until.duration_since(self.now);
        let mut line = self.line("kept", file, &said);
        if left < SignedDuration::from_hours(30 * 24) {
            let state = if left.is_negative() { "it has expired" } else { "it expires soon" };
            line.push_str(&format!(
                "\n        {state}; replace it: evenkeel certs --dir {} {renew}",
                self.dir.display()
            ));
        }
        Ok(line)
    }

    fn signer(&self) -> Result<Authority, String> {
        let (cert, key) = (self.dir.join("ca.pem"), self.dir.join("ca-key.pem"));
        if !key.exists() {
            return Err(format!(
                "nothing can be signed without the authority's key {}; run this where it is kept, or bring it for the \
                 moment",
                key.display()
            ));
        }
        Authority::read(&read(&cert)?, &read(&key)?)
            .map_err(|what| format!("cannot sign with {}: {what}", cert.display()))
    }

    fn said(&self, file: &Path) -> Result<Said, String> {
        authority::read(read(file)?.as_bytes()).map_err(|what| format!("cannot use {}: {what}", file.display()))
    }

    fn line(&self, word: &str, file: &Path, said: &Said) -> String {
        let for_name = if said.names.is_empty() { String::new() } else { format!(" for {}", said.names.join(", ")) };
        format!("{word:<7} {}{for_name}, valid until {}", file.display(), said.until.strftime("%F"))
    }
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

fn make_dir(dir: &Path) -> Result<(), String> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| format!("cannot make the directory {}: {error}", dir.display()))
}

/// Whole or not at all, and never readable for a moment by those who may not.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), String> {
    let partial = file.with_extension("partial");
    let put = || -> io::Result<()> {
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut new = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&partial, file)
    };
    put().map_err(|error| format!("cannot write {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf { dir: dir.path().join("certs"), now: now(), days: 825 };
        shelf.authority().unwrap();
        (dir, shelf)
    }

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_kept() {
        let (_dir, shelf) = shelf();
        assert!(shelf.controller(false).unwrap().starts_with("made    "));
        let (file, line) = shelf.engine("My Shop", false).unwrap();
        assert_eq!(file, shelf.dir.join("engines/my-shop.pem"));
        assert!(line.ends_with("for my-shop.docker.evenkeel, valid until 2028-06-03"), "{line}");

        let all =
            ["ca.pem", "ca-key.pem", "cert.pem", "key.pem", "engines/my-shop.pem"].map(|name| shelf.dir.join(name));
        assert_eq!(all.clone().map(|file| mode(&file)), [0o644, 0o600, 0o644, 0o600, 0o600]);
        let before = all.clone().map(|file| fs::read(file).unwrap());
        assert!(shelf.authority().unwrap().starts_with("kept    "));
        assert!(shelf.controller(false).unwrap().starts_with("kept    "));
        assert!(shelf.engine("My Shop", false).unwrap().1.starts_with("kept    "));
        assert_eq!(all.map(|file| fs::read(file).unwrap()), before);
        assert_eq!(fs::read_dir(&shelf.dir).unwrap().count(), 5, "nothing else is left behind");
    }

    #[test]
    fn a_bundle_holds_certificate_key_and_authority() {
        let (_dir, shelf) = shelf();
        let bundle = read(&shelf.engine("shop", false).unwrap().0).unwrap();
        let parts: Vec<_> = bundle.lines().filter(|line| line.starts_with("-----BEGIN")).collect();
        assert_eq!(
            parts,
            ["-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----", "-----BEGIN CERTIFICATE-----"]
        );
        assert!(bundle.ends_with(&read(&shelf.dir.join("ca.pem")).unwrap()));
        assert!(bundle.len() < PARAMETER);
    }

    #[test]
    fn renewing_replaces_a_certificate_and_never_the_authority() {
        let (_dir, shelf) = shelf();
        shelf.controller(false).unwrap();
        let (ca, cert) = (read(&shelf.dir.join("ca.pem")).unwrap(), read(&shelf.dir.join("cert.pem")).unwrap());
        let later = Shelf { now: "2028-05-20T00:00:00Z".parse().unwrap(), dir: shelf.dir.clone(), days: 825 };
        assert!(later.controller(false).unwrap().contains("it expires soon; replace it: evenkeel certs --dir "));
        let late = Shelf { now: "2029-01-01T00:00:00Z".parse().unwrap(), dir: shelf.dir.clone(), days: 825 };
        assert!(late.controller(false).unwrap().contains("it has expired"));
        assert!(later.controller(true).unwrap().starts_with("renewed "));
        assert_eq!(read(&shelf.dir.join("ca.pem")).unwrap(), ca);
        assert_ne!(read(&shelf.dir.join("cert.pem")).unwrap(), cert);
    }

    #[test]
    fn without_its_key_an_authority_signs_nothing_and_is_not_replaced() {
        let (_dir, shelf) = shelf();
        fs::remove_file(shelf.dir.join("ca-key.pem")).unwrap();
        assert!(shelf.authority().unwrap().starts_with("kept    "));
        assert!(shelf.controller(false).unwrap_err().contains("run this where it is kept"));

        fs::rename(shelf.dir.join("ca.pem"), shelf.dir.join("ca-key.pem")).unwrap();
        assert!(shelf.authority().unwrap_err().contains("bring the certificate that belongs to it"));
    }

    #[test]
    fn a_certificate_of_another_authority_is_told_and_not_kept() {
        let ((_dir, shelf), (_other_dir, other)) = (self::shelf(), self::shelf());
        other.controller(false).unwrap();
        for name in ["cert.pem", "key.pem"] {
            fs::copy(other.dir.join(name), shelf.dir.join(name)).unwrap();
        }
        let error = shelf.controller(false).unwrap_err();
        assert!(error.contains("was not signed by") && error.contains("--renew"), "{error}");
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_and_a_name_that_is_none_are_told() {
        let args = |dir: &Path, stack: Option<&str>| Args {
            dir: dir.to_owned(),
            stack: stack.map(Into::into),
            put: false,
            region: None,
            role: None,
            external_id: None,
            days: 825,
            renew: false,
        };
        let error = certs(&args(Path::new("/proc/certs"), None), now()).await.unwrap_err();
        assert!(error.contains("cannot make the directory /proc/certs"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let error = certs(&args(dir.path(), Some("…")), now()).await.unwrap_err();
        assert!(error.contains("is no name of a stack"), "{error}");
    }
}
