//! Test data: a picture with all sorts of colours, and names in DNS form.

use std::fmt::Write;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

const SIDE: u32 = 256;

/// A PNG of 256 by 256 pixels in RGBA.
pub fn png() -> Vec<u8> {
    let pixels: Vec<u8> = (0..SIDE * SIDE)
        .flat_map(|at| {
            let (x, y) = (at % SIDE, at / SIDE);
            [x as u8, y as u8, (x * y / 7) as u8, (x ^ y) as u8]
        })
        .collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SIDE, SIDE);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    file
}

/// The pixels of a PNG file.
pub fn pixels(file: &Path) -> Vec<u8> {
    let mut reader = png::Decoder::new(BufReader::new(File::open(file).unwrap()))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(
        (info.width, info.height, info.color_type),
        (SIDE, SIDE, png::ColorType::Rgba)
    );
    pixels
}

/// The mean of red, green and blue, rounded down.
pub fn gray(pixels: &[u8]) -> Vec<u8> {
    let mean = |p: &[u8]| (p[..3].iter().map(|&c| u32::from(c)).sum::<u32>() / 3) as u8;
    pixels.chunks(4).map(mean).collect()
}

/// A name as DNS writes it, without the final zero.
pub fn labels(name: &str) -> Vec<u8> {
    let label = |part: &str| [&[part.len() as u8], part.as_bytes()].concat();
    name.split('.').flat_map(label).collect()
}

/// A name as the key of a table, as the control plane writes it.
pub fn key(name: &str) -> String {
    let mut key = labels(name);
    key.resize(32, 0);
    key.iter().fold("0x".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
