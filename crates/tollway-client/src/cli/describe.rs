//! `tollway describe-prices`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tollway_lint::{Form, describe, read};

use super::Exit;

#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    /// The form: for /openapi.json, /.well-known/l402 or /llms.txt.
    form: FormArg,
    /// The filter's configuration: by itself, or inside one of Envoy, Istio or Envoy Gateway.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What the API is called.
    #[arg(long, default_value = "Paid API")]
    title: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormArg {
    Openapi,
    Manifest,
    Llms,
}

pub(crate) fn run(args: &DescribeArgs) -> Exit {
    let form = match args.form {
        FormArg::Openapi => Form::OpenApi,
        FormArg::Manifest => Form::Manifest,
        FormArg::Llms => Form::Llms,
    };
    let described = fs::read_to_string(&args.config)
        .map_err(|error| format!("cannot be read: {error}"))
        .and_then(|text| read(&text).map_err(|error| error.to_string()))
        .and_then(|found| match found.as_slice() {
            [only] => describe(&only.filter, &args.title, form).map_err(|error| error.to_string()),
            several => Err(format!("expected one configuration, but found {}", several.len())),
        });
    match described {
        Ok(text) => {
            let mut out = io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            if written.is_ok() { Exit::Done } else { Exit::Internal }
        }
        Err(problem) => {
            eprintln!("tollway: {}: {problem}", args.config.display());
            Exit::Config
        }
    }
}
