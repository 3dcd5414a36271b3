//! A number of a JSON where a text is meant: as Ruby, in which the cookbook was written, put it into a command line.

/// `30` is `30`, `1.10` is `1.1`, `1e3` is `1000.0`.
pub(super) fn shown(written: &str) -> String {
    if !written.contains(['.', 'e', 'E']) {
        return written.to_owned();
    }
    let Ok(number) = written.parse::<f64>() else { return written.to_owned() };
    if number == 0.0 || (1e-4..1e16).contains(&number.abs()) {
        return format!("{number:?}");
    }
    let science = format!("{number:e}");
    let Some((mantissa, exponent)) = science.split_once('e') else { return science };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}{point}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_number_reads_as_it_did_in_the_command_line() {
        for (written, as_it_was) in [
            ("30", "30"),
            ("-1", "-1"),
            ("12345678901234567890", "12345678901234567890"),
            ("1.10", "1.1"),
            ("2.0", "2.0"),
            ("1e3", "1000.0"),
            ("0.0001", "0.0001"),
            ("1e16", "1.0e+16"),
            ("1.5e-7", "1.5e-07"),
        ] {
            assert_eq!(shown(written), as_it_was);
        }
    }
}
